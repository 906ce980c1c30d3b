//! Secrets: values as they are; references would need a resolver, of which there is none.

use tepui_proto::mesos::v1::{Secret, secret};

/// The most bytes of one secret.
const MAX_SECRET_BYTES: usize = 1 << 20;

/// What a secret holds.
pub(crate) fn resolve(secret: &Secret) -> Result<&[u8], String> {
    match secret.r#type() {
        secret::Type::Value => match &secret.value {
            Some(value) if value.data.len() > MAX_SECRET_BYTES => Err(format!(
                "a secret of {} bytes is larger than {MAX_SECRET_BYTES}",
                value.data.len()
            )),
            Some(value) => Ok(&value.data),
            None => Err("a secret of type VALUE has no 'value'".to_owned()),
        },
        secret::Type::Reference => Err(format!(
            "the secret '{}' is a reference, and this agent has no secret resolver: give its VALUE",
            secret.reference.as_ref().map_or("", |it| it.name.as_str())
        )),
        secret::Type::Unknown => Err("a secret does not say its 'type'".to_owned()),
    }
}

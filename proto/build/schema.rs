//! What the code generators need to know about the .proto files: a flat view of the descriptor set, with the Rust names that
//! prost gives to things.

use std::collections::BTreeMap;

use heck::{ToSnakeCase, ToUpperCamelCase};
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet};

/// All messages, in the order of their declaration. Map entries are messages too.
pub(crate) struct Schema {
    pub(crate) messages: Vec<Message>,
    /// The names and numbers of each enum, by the path of its Rust type.
    pub(crate) enums: BTreeMap<String, Vec<(String, i32)>>,
    index: BTreeMap<String, usize>,
}

pub(crate) struct Message {
    /// As in the .proto file, with its package: `mesos.v1.Offer.Operation`.
    pub(crate) name: String,
    /// The path of the Rust type.
    pub(crate) rust: String,
    pub(crate) is_map_entry: bool,
    pub(crate) fields: Vec<Field>,
}

pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) number: i32,
    /// The Rust field; for a member of a oneof the field of the whole oneof.
    pub(crate) rust: String,
    pub(crate) label: FieldLabel,
    pub(crate) kind: Kind,
    /// An explicit default of the schema, as JSON text.
    pub(crate) default: Option<String>,
    pub(crate) deprecated: bool,
    /// The path of the enum variant that holds it, for a member of a oneof.
    pub(crate) variant: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum FieldLabel {
    Required,
    Optional,
    Repeated,
    Map,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Double,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Bool,
    String,
    Bytes,
    /// With the path of the Rust type.
    Enum(String),
    /// With its full name.
    Message(String),
}

impl Schema {
    pub(crate) fn new(set: &FileDescriptorSet) -> Self {
        let mut schema = Self {
            messages: Vec::new(),
            enums: BTreeMap::new(),
            index: BTreeMap::new(),
        };
        for file in &set.file {
            let package = file.package();
            if package == "google.protobuf" {
                continue;
            }
            for of in &file.enum_type {
                schema.add_enum(of, package);
            }
            for message in &file.message_type {
                schema.add(
                    message,
                    package,
                    &format!("crate::{}", package.replace('.', "::")),
                );
            }
        }
        for (position, message) in schema.messages.iter().enumerate() {
            schema.index.insert(message.name.clone(), position);
        }
        schema.mark_maps();
        schema
    }

    /// `None` for the well-known types.
    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.index.get(name).copied()
    }

    /// The two fields of a map's entries.
    pub(crate) fn entry(&self, name: &str) -> (&Field, &Field) {
        let entry = &self.messages[self.index[name]];
        (&entry.fields[0], &entry.fields[1])
    }

    fn add(&mut self, message: &DescriptorProto, scope: &str, rust_scope: &str) {
        let name = format!("{scope}.{}", message.name());
        let module = format!("{rust_scope}::{}", message.name().to_snake_case());
        self.messages.push(Message {
            rust: format!("{rust_scope}::{}", message.name().to_upper_camel_case()),
            is_map_entry: message
                .options
                .as_ref()
                .is_some_and(|options| options.map_entry()),
            fields: message
                .field
                .iter()
                .map(|field| self.field(message, field, &module))
                .collect(),
            name: name.clone(),
        });
        for of in &message.enum_type {
            self.add_enum(of, &name);
        }
        for nested in &message.nested_type {
            self.add(nested, &name, &module);
        }
    }

    fn add_enum(&mut self, of: &EnumDescriptorProto, scope: &str) {
        let values = of.value.iter();
        let values = values
            .map(|value| (value.name().to_owned(), value.number()))
            .collect();
        self.enums
            .insert(rust_path(&format!("{scope}.{}", of.name())), values);
    }

    fn field(
        &self,
        message: &DescriptorProto,
        field: &FieldDescriptorProto,
        module: &str,
    ) -> Field {
        let kind = kind(field);
        let oneof = field.oneof_index.filter(|_| !field.proto3_optional());
        let oneof = oneof.map(|index| message.oneof_decl[index as usize].name());
        Field {
            name: field.name().to_owned(),
            number: field.number(),
            rust: ident(oneof.unwrap_or(field.name())),
            label: match field.label() {
                Label::Required => FieldLabel::Required,
                Label::Optional => FieldLabel::Optional,
                Label::Repeated => FieldLabel::Repeated,
            },
            default: field
                .default_value
                .as_deref()
                .map(|text| default_json(&kind, text)),
            kind,
            deprecated: field
                .options
                .as_ref()
                .is_some_and(|options| options.deprecated()),
            variant: oneof.map(|oneof| {
                let (of, member) = (
                    oneof.to_upper_camel_case(),
                    field.name().to_upper_camel_case(),
                );
                format!("{module}::{of}::{member}")
            }),
        }
    }

    /// A map is spelled as a repeated entry message.
    fn mark_maps(&mut self) {
        let entries: Vec<String> = self
            .messages
            .iter()
            .filter(|message| message.is_map_entry)
            .map(|message| message.name.clone())
            .collect();
        for field in self
            .messages
            .iter_mut()
            .flat_map(|message| &mut message.fields)
        {
            if let Kind::Message(name) = &field.kind
                && entries.contains(name)
            {
                field.label = FieldLabel::Map;
            }
        }
    }
}

fn kind(field: &FieldDescriptorProto) -> Kind {
    let name = field.type_name().trim_start_matches('.');
    match field.r#type() {
        Type::Double => Kind::Double,
        Type::Int32 => Kind::Int32,
        Type::Int64 => Kind::Int64,
        Type::Uint32 => Kind::Uint32,
        Type::Uint64 => Kind::Uint64,
        Type::Bool => Kind::Bool,
        Type::String => Kind::String,
        Type::Bytes => Kind::Bytes,
        Type::Enum => Kind::Enum(rust_path(name)),
        Type::Message => Kind::Message(name.to_owned()),
        other => panic!("{}: no field of ours has the type {other:?}", field.name()),
    }
}

/// Packages begin with a small letter and become modules as they are; messages around the type become modules in snake case.
fn rust_path(name: &str) -> String {
    let parts: Vec<&str> = name.split('.').collect();
    let (last, scopes) = parts.split_last().expect("a name has a part");
    let scopes: Vec<String> = scopes.iter().map(|scope| scope.to_snake_case()).collect();
    format!(
        "crate::{}::{}",
        scopes.join("::"),
        last.to_upper_camel_case()
    )
}

fn ident(name: &str) -> String {
    let name = name.to_snake_case();
    if matches!(
        name.as_str(),
        "type" | "move" | "ref" | "use" | "in" | "for" | "box" | "final" | "match" | "loop"
    ) {
        format!("r#{name}")
    } else {
        name
    }
}

fn default_json(kind: &Kind, text: &str) -> String {
    match kind {
        Kind::Double => format!(
            "{:?}",
            text.parse::<f64>()
                .expect("a default of type double is a number")
        ),
        Kind::String | Kind::Enum(_) => format!("\"{text}\""),
        _ => text.to_owned(),
    }
}

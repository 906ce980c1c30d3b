//! UPDATE_FRAMEWORK: the one call whose outcome is its answer.

use tepui_proto::mesos::scheduler::call::UpdateFramework;

use super::Refusal;
use super::subscribe::Wishes;
use crate::change::Change;
use crate::master::Master;
use crate::output::Output;
use crate::state::FrameworkIx;
use crate::validate::framework::{
    check_constraints, check_framework, framework_roles, suppressed_roles,
};

impl Master {
    pub(crate) fn update_framework(
        &mut self,
        framework: FrameworkIx,
        update: UpdateFramework,
        principal: Option<&str>,
        out: &mut Vec<Output>,
    ) -> Result<(), Refusal> {
        let UpdateFramework {
            framework_info: mut info,
            suppressed_roles: suppressed,
            offer_constraints: constraints,
        } = update;
        let known = &self.frameworks[framework];
        if info
            .id
            .as_ref()
            .is_none_or(|id| id.value != known.id.as_str())
        {
            return Err(Refusal::bad_request(
                "'framework_info.id' differs from 'framework_id'",
            ));
        }
        check_framework(&info, &self.config).map_err(Refusal::bad_request)?;
        info.principal = info.principal.or_else(|| principal.map(ToOwned::to_owned));
        let changed = [
            ("user", info.user != known.info.user),
            (
                "checkpoint",
                info.checkpoint.unwrap_or(false) != known.info.checkpoint.unwrap_or(false),
            ),
            ("principal", info.principal != known.info.principal),
        ];
        if let Some((field, _)) = changed.iter().find(|(_, changed)| *changed) {
            return Err(Refusal::bad_request(format!(
                "Updating 'FrameworkInfo.{field}' is unsupported"
            )));
        }
        let roles = framework_roles(&info, &self.config).map_err(Refusal::bad_request)?;
        let suppressed = suppressed_roles(&suppressed, &roles).map_err(Refusal::bad_request)?;
        let constraints =
            check_constraints(constraints, &roles, &self.config).map_err(Refusal::bad_request)?;
        self.set_wishes(
            framework,
            Wishes {
                info,
                roles,
                suppressed,
                constraints,
            },
            out,
        );
        self.offers_wanted(framework, out);
        self.dirty_frameworks.remove(&framework);
        let framework = self.frameworks[framework].snapshot(None);
        out.push(Output::Change(Change::FrameworkUpdated {
            framework,
            resubscribed: true,
        }));
        Ok(())
    }
}

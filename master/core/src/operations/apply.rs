//! A framework's operation on the offers that it accepts.

use tepui_model::resources::Kind;
use tepui_model::{Resource, Resources};
use tepui_proto::mesos::offer::Operation as Info;
use tepui_proto::mesos::{OperationId, OperationState, OperationStatus};

use crate::allocator::Recovery;
use crate::calls::accept::Pool;
use crate::events;
use crate::master::{Master, log};
use crate::output::{LogLevel, Output};
use crate::state::{AgentIx, FrameworkIx};
use crate::validate::operation::{self, Asker, Checked, Conversion, Scene};

impl Master {
    /// Apply one operation other than a launch to the pool, or refuse it and change nothing.
    pub(crate) fn apply_operation(&mut self, pool: &mut Pool, asked: &Info, out: &mut Vec<Output>) {
        if let Err(error) = self.try_apply(pool, asked, out) {
            self.refuse_operation(pool.framework, asked, &error, out);
        }
    }

    fn try_apply(
        &mut self,
        pool: &mut Pool,
        asked: &Info,
        out: &mut Vec<Output>,
    ) -> Result<(), String> {
        let framework = &self.frameworks[pool.framework];
        let agent = &self.agents[pool.agent];
        let scene = Scene {
            framework: Some(Asker {
                role: &pool.role,
                roles: &framework.roles,
                shared_resources: framework.capabilities.shared_resources,
            }),
            principal: framework.info.principal.as_deref(),
            capabilities: &agent.capabilities,
            total: &agent.total,
            used: &agent.allocated,
        };
        let Checked { conversion, info } = operation::check(asked, &scene)?;
        self.check_room(pool.agent, Some(pool.framework), &conversion)?;
        if !pool.left.contains(&conversion.before) {
            return Err(format!(
                "Invalid {} operation: it needs {}, of which the offers have only {}",
                asked.r#type().as_str_name(),
                conversion.before,
                pool.left
            ));
        }
        pool.before.get_or_insert_with(|| pool.left.clone());
        self.gather_shared(pool, &conversion.before, out);
        let Conversion {
            before,
            after,
            later,
        } = conversion;
        self.convert(pool, &before, &after);
        if later {
            self.recover(
                pool.agent,
                pool.framework,
                &pool.role,
                &after,
                Recovery::Freed,
            );
        } else {
            pool.left += &after;
        }
        pool.operated += 1;
        self.begin_operation(pool.agent, Some(pool.framework), info, out);
        Ok(())
    }

    /// Of a shared volume that is going to be destroyed only the copy in the pool may be left: others are rescinded where they are
    /// offered, and given back where the pool holds more than one.
    fn gather_shared(&mut self, pool: &mut Pool, volumes: &Resources, out: &mut Vec<Output>) {
        for volume in volumes.shared().iter() {
            self.rescind_volume(pool.agent, &volume, out);
            let copies = count(&pool.left, &volume);
            let surplus: Resources =
                std::iter::repeat_n(volume, copies.saturating_sub(1)).collect();
            if pool.left.try_subtract(&surplus).is_ok() {
                self.recover(
                    pool.agent,
                    pool.framework,
                    &pool.role,
                    &surplus,
                    Recovery::Freed,
                );
            }
        }
    }

    /// Take back every offer that holds this volume.
    pub(super) fn rescind_volume(
        &mut self,
        agent: AgentIx,
        volume: &Resource,
        out: &mut Vec<Output>,
    ) {
        let bare = Resources::from(volume.clone()).unallocated();
        let holding: Vec<_> = self.agents[agent]
            .offers
            .iter()
            .copied()
            .filter(|key| {
                let offered = self.offers[key]
                    .resources
                    .filter(Kind::is_persistent_volume);
                offered.unallocated().contains(&bare)
            })
            .collect();
        for key in holding {
            self.take_back(key, true, out);
        }
    }

    /// In the pool, in the allocator's books and in the agent's total at once (I1).
    fn convert(&mut self, pool: &mut Pool, before: &Resources, after: &Resources) {
        let taken = pool.left.try_subtract(before);
        assert!(
            taken.is_ok(),
            "I1: the check above has found the resources in the pool"
        );
        let mut total = self.agents[pool.agent].total.as_ref().clone();
        let taken = total.try_subtract(&before.unallocated());
        assert!(
            taken.is_ok(),
            "I1: what is offered on an agent is part of its total"
        );
        total += &after.unallocated();
        self.allocation_converted(pool.agent, pool.framework, &pool.role, before, after);
        self.agents[pool.agent].total = total.into();
        self.touch_agent(pool.agent);
    }

    /// Tell why an operation is not done: by an event if the framework asked for feedback, otherwise in the log.
    fn refuse_operation(
        &mut self,
        framework: FrameworkIx,
        asked: &Info,
        why: &str,
        out: &mut Vec<Output>,
    ) {
        let kind = asked.r#type();
        match &asked.id {
            Some(id) => self.operation_error(framework, kind, id.clone(), why.to_owned(), out),
            None => {
                let id = &self.frameworks[framework].id;
                log(
                    LogLevel::Warn,
                    format!("{kind:?} of framework {id} is dropped: {why}"),
                    out,
                );
                self.count_error(kind);
            }
        }
    }

    pub(crate) fn operation_error(
        &mut self,
        framework: FrameworkIx,
        kind: tepui_proto::mesos::offer::operation::Type,
        id: OperationId,
        message: String,
        out: &mut Vec<Output>,
    ) {
        self.count_error(kind);
        let status = OperationStatus {
            operation_id: Some(id),
            state: OperationState::OperationError as i32,
            message: Some(message),
            ..OperationStatus::default()
        };
        self.event(framework, events::operation_status(status), out);
    }

    fn count_error(&mut self, kind: tepui_proto::mesos::offer::operation::Type) {
        if let Some(count) = self
            .counters
            .operations
            .place(kind, OperationState::OperationError)
        {
            *count += 1;
        }
    }
}

/// How many copies of a shared volume there are.
fn count(held: &Resources, volume: &Resource) -> usize {
    held.shared()
        .iter()
        .filter(|other| other.kind() == volume.kind() && other.value() == volume.value())
        .count()
}

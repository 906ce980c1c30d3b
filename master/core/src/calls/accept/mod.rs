//! ACCEPT: what a framework does with offers. Its steps are numbered as in the reference:
//!
//! 1. the offers must be valid together, or the whole call fails (`offers`);
//! 2. and 3. each operation is checked and completed before it runs;
//! 4. the agent must be there;
//! 5. operations run in order on the pool of all named offers;
//! 6. tasks stand alone (`launch`), groups are all or nothing (`group`);
//! 7. what is left goes back: what operations have made without filter, the rest with the filters of the call;
//! 8. without operations it is DECLINE.
//!
//! What operations on resources do is in the room `operations`.

mod group;
mod launch;
mod offers;

use tepui_model::{Resources, Role};
use tepui_proto::mesos::Filters;
use tepui_proto::mesos::offer::Operation;
use tepui_proto::mesos::offer::operation::Type;
use tepui_proto::mesos::scheduler::call::Accept;

use crate::allocator::Recovery;
use crate::calls::offers::refusal;
use crate::master::Master;
use crate::output::Output;
use crate::state::{AgentIx, FrameworkIx};

const CUT_OFF: &str = "this master is cut off from the others and starts nothing new";

/// What the operations of one call work on.
pub(crate) struct Pool {
    pub(crate) framework: FrameworkIx,
    pub(crate) agent: AgentIx,
    pub(crate) role: Role,
    /// What is left of the offers.
    pub(crate) left: Resources,
    /// What was left before the first operation on resources.
    pub(crate) before: Option<Resources>,
    /// How many tasks were launched.
    pub(crate) launched: u64,
    /// How many operations on resources were done.
    pub(crate) operated: u64,
}

impl Pool {
    /// Whether these can be taken one after the other. Their sum does not tell: it has a port once that two of them ask for.
    fn holds_each<'a>(&self, parts: impl IntoIterator<Item = &'a Resources>) -> bool {
        let mut left = self.left.clone();
        parts.into_iter().all(|part| {
            left.contains(&part.shared()) && left.try_subtract(&part.non_shared()).is_ok()
        })
    }
}

impl Master {
    pub(crate) fn accept(&mut self, framework: FrameworkIx, accept: Accept, out: &mut Vec<Output>) {
        self.counters.messages.launch_tasks += 1;
        let Accept {
            offer_ids,
            operations,
            filters,
        } = accept;
        let mut pool = match self.pool(framework, &offer_ids, operations.is_empty(), out) {
            Ok(pool) => pool,
            Err(error) => return self.accept_failed(framework, operations, &error, out),
        };
        if self.suspended && !operations.is_empty() {
            // Another master may lead and count on what is free here (I6). The framework hears of it as of any offer that is void.
            let Pool {
                agent, role, left, ..
            } = pool;
            self.recover(agent, framework, &role, &left, Recovery::Freed);
            return self.accept_failed(framework, operations, CUT_OFF, out);
        }
        for operation in operations {
            self.operate(&mut pool, operation, out);
        }
        self.give_back(pool, filters.as_ref());
    }

    /// What nobody used counts as declined; what productive use left over is offered again as soon as it has gathered, unless the
    /// framework said that it does not want it. What operations have made nobody has seen yet: no filter holds for it.
    fn give_back(&mut self, pool: Pool, filters: Option<&Filters>) {
        let productive = pool.launched + pool.operated > 0;
        let why = match (productive, filters) {
            (false, filters) => Recovery::Declined {
                refuse: refusal(filters),
            },
            (true, None) => Recovery::Leftover {
                refuse: std::time::Duration::ZERO,
            },
            (true, filters) => Recovery::Leftover {
                refuse: refusal(filters),
            },
        };
        let Pool {
            framework,
            agent,
            role,
            left,
            before,
            ..
        } = pool;
        let made = before.map_or_else(Resources::new, |before| {
            let mut made = left.clone();
            made.subtract_overlap(&before);
            made
        });
        let untouched = left.checked_sub(&made).unwrap_or_default();
        for (resources, why) in [(made, Recovery::Freed), (untouched, why)] {
            if !resources.is_empty() {
                self.recover(agent, framework, &role, &resources, why);
            }
        }
    }

    fn operate(&mut self, pool: &mut Pool, operation: Operation, out: &mut Vec<Output>) {
        match operation.r#type() {
            Type::Launch => self.launch(pool, operation, out),
            Type::LaunchGroup => self.launch_group(pool, operation, out),
            _ => self.apply_operation(pool, &operation, out),
        }
    }
}

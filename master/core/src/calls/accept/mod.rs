//! ACCEPT: what a framework does with offers. Its steps are numbered as in the reference:
//!
//! 1. the offers must be valid together, or the whole call fails (`offers`);
//! 2. and 3. each operation is checked and completed before it runs;
//! 4. the agent must be there;
//! 5. operations run in order on the pool of all named offers;
//! 6. tasks stand alone (`launch`), groups are all or nothing (`group`);
//! 7. what is left goes back, with the filters of the call;
//! 8. without operations it is DECLINE.
//!
//! Reservations, volumes and disks are refused for now (`operations`).

mod group;
mod launch;
mod offers;
mod operations;

use tepui_model::{Resources, Role};
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
    /// How many tasks were launched.
    pub(crate) launched: u64,
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
        // What nobody used counts as declined; what productive use left over is offered again as soon as it has gathered, unless
        // the framework said that it does not want it.
        let why = match (pool.launched, &filters) {
            (0, filters) => Recovery::Declined {
                refuse: refusal(filters.as_ref()),
            },
            (_, None) => Recovery::Leftover {
                refuse: std::time::Duration::ZERO,
            },
            (_, filters) => Recovery::Leftover {
                refuse: refusal(filters.as_ref()),
            },
        };
        if !pool.left.is_empty() {
            self.recover(pool.agent, framework, &pool.role, &pool.left, why);
        }
    }

    fn operate(&mut self, pool: &mut Pool, operation: Operation, out: &mut Vec<Output>) {
        match operation.r#type() {
            Type::Launch => self.launch(pool, operation, out),
            Type::LaunchGroup => self.launch_group(pool, operation, out),
            _ => self.refuse_operation(pool.framework, &operation, operations::NOT_BUILT, out),
        }
    }
}

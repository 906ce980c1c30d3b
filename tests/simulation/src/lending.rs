//! Oversubscription: in some worlds agents lend more or less than before, as they please, and take it back from whoever has it.

use tepui_agent_core::Input;
use tepui_proto::mesos::Resource;

use crate::whims::scalar;
use crate::world::{Happening, Simulation, trace};

/// Whether anything of a task is lent.
pub(crate) fn is_lent(resources: &[Resource]) -> bool {
    resources.iter().any(|it| it.revocable.is_some())
}

impl Simulation {
    /// An estimator and a controller have thought of something; what the agent makes of it is checked like everything else.
    pub(crate) fn lend(&mut self, agent: usize) {
        if !self.trouble() {
            return;
        }
        self.after(200, 20_000, Happening::Lend(agent));
        if !self.machines[agent].alive() {
            return;
        }
        let cpus = [0.0, 0.5, 2.0, 4.0][self.random.below(4)];
        trace!(self, "agent {agent} lends {cpus} cpus");
        let resources = vec![scalar("cpus", cpus)];
        self.agent_step(agent, Input::Oversubscribed { resources });
        let executors: Vec<_> = self.machines[agent].executors.clone().into_iter().collect();
        // All that is there: those who have nothing of it must not end.
        for ((framework, executor), container) in executors {
            if !self.random.percent(30) {
                continue;
            }
            let (Ok(framework), Ok(executor)) = (framework.parse(), executor.parse()) else {
                continue;
            };
            let input = Input::Preempt {
                framework,
                executor,
                container,
                reason: "as it pleases".to_owned(),
            };
            self.agent_step(agent, input);
        }
    }
}

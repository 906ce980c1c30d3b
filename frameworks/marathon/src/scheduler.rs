//! The master's side of things: the SDK's events in, the core's commands out.
//!
//! The SDK finds the master, subscribes and comes back; the core reconciles and acknowledges by itself, because it must store before it acknowledges.
//! So updates are taken without the SDK's acknowledgement, and offers are kept until the core has said what becomes of each.
//!
//! When another instance has subscribed in its place, an instance asks the store whether it still leads. If so, it was one that was cut off and
//! does not know yet that it leads no more: the leader subscribes again, under the same id. If not, its term is over. A new id would leave all
//! tasks behind.

mod roles;

use std::{collections::HashMap, time::Duration};

use tepui_coordination::{SharedStore, StoreError};
use tepui_marathon_core::Input;
use tepui_proto::mesos::{
    self,
    scheduler::{Call, call},
};
use tepui_sdk::{AgentId, Capability, Driver, Event, Framework, FrameworkId, Offer, TaskId};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use self::roles::Roles;
use crate::{
    Error,
    config::Config,
    engine::{EngineHandle, SchedulerCommand},
    rest::Info,
    storage,
};

/// After this the framework subscribes anew.
const START_ANEW: Duration = Duration::from_secs(1);
/// What the master says when another has subscribed under the same id.
const FAILED_OVER: &str = "Framework failed over";
/// What it says when the id is of no more use: the framework was torn down, or its failover time-out has passed.
const REMOVED: &str = "Framework has been removed";
/// After this a framework that was refused subscribes again.
const TRY_AGAIN: Duration = Duration::from_secs(10);

/// Why nothing more is said to the master.
#[derive(Debug)]
pub(crate) enum End {
    /// A person has to look.
    Refused(Error),
    /// Another leads.
    Replaced,
}

/// Speaks to the master until the future is dropped, or another is found to lead.
pub(crate) async fn run(
    config: &Config,
    (store, epoch): (&SharedStore, u64),
    mut framework_id: Option<String>,
    own: &str,
    mut commands: mpsc::Receiver<SchedulerCommand>,
    engine: EngineHandle,
    info: watch::Sender<Info>,
) -> End {
    loop {
        let mut description = mesos::FrameworkInfo::default();
        let mut builder = Framework::builder(&config.framework_name)
            .role(&config.core.mesos_role)
            .user(config.mesos_user.as_deref().unwrap_or("root"))
            .hostname(&config.hostname)
            .webui_url(
                config
                    .webui_url
                    .clone()
                    .unwrap_or_else(|| format!("http://{own}")),
            )
            .failover_timeout(Duration::from_secs(config.failover_timeout_seconds))
            .capability(Capability::RegionAware);
        if let Some(id) = framework_id
            .as_deref()
            .and_then(|id| FrameworkId::new(id).ok())
        {
            builder = builder.id(&id);
        }
        if config.core.gpu_resources {
            builder = builder.capability(Capability::GpuResources);
        }
        let builder = builder.info(|info| description = info.clone());
        let framework = match builder.connect(&config.master).await {
            Ok(framework) => framework,
            Err(error) => {
                return End::Refused(Error::Flag {
                    flag: "master",
                    reason: error.to_string(),
                });
            }
        };
        let session = Session {
            driver: framework.driver(),
            framework,
            roles: Roles::of(&description),
            description,
            offers: HashMap::new(),
            engine: &engine,
            info: &info,
            config,
        };
        let why = session.run(&mut commands).await;
        engine.input(Input::Disconnected).await;
        framework_id = match why {
            Over::Replaced(id) => {
                tracing::warn!("another Marathon has subscribed in this one's place");
                match storage::still_leads(store, epoch).await {
                    Ok(()) => id,
                    Err(StoreError::Fenced { .. }) => return End::Replaced,
                    Err(error) => return End::Refused(error.into()),
                }
            }
            Over::Removed(reason) => {
                tracing::error!(%reason, "the master has ended the framework for good; Marathon subscribes as a new one");
                None
            }
            Over::Refused { id, reason } => {
                tracing::error!(%reason, "the master refuses Marathon, which asks again until a person has put that right, at the master or by Marathon's flags");
                pause(TRY_AGAIN, &mut commands).await;
                id
            }
        };
        pause(START_ANEW, &mut commands).await;
    }
}

/// Waits. What the core wants of the master meanwhile has nobody to go to, and does not keep the core waiting: it asks again after the next
/// registration.
async fn pause(time: Duration, commands: &mut mpsc::Receiver<SchedulerCommand>) {
    let over = tokio::time::sleep(time);
    tokio::pin!(over);
    loop {
        tokio::select! {
            () = &mut over => return,
            command = commands.recv() => if command.is_none() {
                over.await;
                return;
            },
        }
    }
}

/// Why a subscription is over.
enum Over {
    /// Another has subscribed under this id.
    Replaced(Option<String>),
    /// The id is of no more use, as this says.
    Removed(String),
    /// The master does not want the framework as it is. Its id stays: with another all of its tasks and volumes would be left behind.
    Refused { id: Option<String>, reason: String },
}

impl Over {
    /// `id`: of the framework, if it has one.
    fn of(error: &tepui_sdk::Error, id: Option<FrameworkId>) -> Self {
        let id = id.map(|id| id.to_string());
        match error {
            tepui_sdk::Error::Ended { message, .. } if message == FAILED_OVER => Self::Replaced(id),
            tepui_sdk::Error::Ended { message, .. } if message == REMOVED => {
                Self::Removed(message.clone())
            }
            other => Self::Refused {
                id,
                reason: other.to_string(),
            },
        }
    }
}

/// One framework's subscription.
struct Session<'a> {
    framework: Framework,
    driver: Driver,
    /// As it was subscribed, but for the roles: they are added as apps ask for them.
    description: mesos::FrameworkInfo,
    roles: Roles,
    /// Offers that the core has not decided on, by id. As many as the master has outstanding for us.
    offers: HashMap<String, Offer>,
    engine: &'a EngineHandle,
    info: &'a watch::Sender<Info>,
    config: &'a Config,
}

impl Session<'_> {
    /// Runs until the master ends it for good, and tells why.
    async fn run(mut self, commands: &mut mpsc::Receiver<SchedulerCommand>) -> Over {
        loop {
            let again = self.roles.again_at();
            tokio::select! {
                () = tokio::time::sleep_until(again.unwrap_or_else(Instant::now)), if again.is_some() => {
                    let roles = self.roles.again();
                    self.command(SchedulerCommand::Revive { roles });
                }
                event = self.framework.next() => match event {
                    Ok(Some(event)) => self.event(event).await,
                    Ok(None) => return Over::Removed("it was torn down".into()),
                    Err(error) => return Over::of(&error, self.driver.framework_id()),
                },
                command = commands.recv() => match command {
                    Some(command) => self.command(command),
                    None => return Over::Removed("the term is over".into()),
                },
            }
        }
    }

    async fn event(&mut self, event: Event) {
        let input = match event {
            Event::Subscribed(subscribed) => {
                self.offers.clear();
                let master = self.driver.master().unwrap_or_default();
                self.info.send_modify(|info| {
                    info.framework_id = Some(subscribed.framework_id.to_string());
                    info.master = Some(master.clone());
                    if self.config.mesos_leader_ui_url.is_none() {
                        info.mesos_leader_ui_url = Some(format!("http://{master}/"));
                    }
                });
                let said = subscribed.master.unwrap_or_default();
                let region = said
                    .domain
                    .and_then(|domain| domain.fault_domain)
                    .map(|domain| domain.region.name);
                self.engine.input(Input::HomeRegion(region)).await;
                let host = said.hostname.unwrap_or(master);
                Input::Registered {
                    framework_id: subscribed.framework_id.to_string(),
                    master: host,
                }
            }
            Event::Disconnected { reason } => {
                tracing::warn!(%reason, "the master is gone; Marathon subscribes again");
                self.offers.clear();
                Input::Disconnected
            }
            Event::Offers(offers) => {
                let messages = offers.iter().map(|offer| offer.message().clone()).collect();
                self.offers.extend(
                    offers
                        .into_iter()
                        .map(|offer| (offer.id().to_string(), offer)),
                );
                Input::Offers(messages)
            }
            Event::Rescinded(id) => {
                self.offers.remove(id.as_str());
                return;
            }
            Event::InverseOffers(offers) => Input::InverseOffers(offers),
            Event::Update(update) => Input::TaskUpdate(Box::new(update.leave())),
            Event::Refused(refused) => {
                tracing::warn!(call = refused.call, status = refused.status, message = %refused.message, "the master refused a call");
                if refused.call == call::Type::UpdateFramework.as_str_name() {
                    self.roles.refused(Instant::now());
                }
                return;
            }
            _ => return,
        };
        self.engine.input(input).await;
    }

    fn command(&mut self, command: SchedulerCommand) {
        let done = match command {
            SchedulerCommand::Accept {
                offer_ids,
                operations,
                tasks,
            } => {
                // A placement is made from one offer. If it was rescinded meanwhile, the master answers its tasks with TASK_DROPPED.
                let mut offers: Vec<Offer> = offer_ids
                    .iter()
                    .filter_map(|id| self.offers.remove(id))
                    .collect();
                match offers.first_mut() {
                    Some(offer) => {
                        for operation in operations {
                            offer.operation(operation);
                        }
                        for task in tasks {
                            offer.launch(task);
                        }
                        // What is left may be offered again at once: there may be more to launch.
                        offer.refuse_for(Duration::ZERO);
                        Ok(())
                    }
                    None => self.accept_void(offer_ids, operations, tasks),
                }
            }
            SchedulerCommand::Decline {
                offer_ids,
                refuse_ms,
            } => {
                for offer in offer_ids.iter().filter_map(|id| self.offers.remove(id)) {
                    offer.decline(Duration::from_millis(refuse_ms));
                }
                Ok(())
            }
            SchedulerCommand::Kill { task_id, agent_id } => {
                let agent = agent_id.and_then(|id| AgentId::new(id).ok());
                match TaskId::new(task_id) {
                    Ok(task) => self.driver.kill_with(&task, agent.as_ref(), None),
                    Err(_) => Ok(()), // never the id of a task that was launched
                }
            }
            SchedulerCommand::Revive { roles } => {
                let subscribed = self.subscribe_to(&roles);
                let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
                subscribed.and_then(|()| self.driver.revive_roles(&roles))
            }
            SchedulerCommand::Suppress { roles } => {
                self.roles.forget(&roles);
                let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
                self.driver.suppress_roles(&roles)
            }
            SchedulerCommand::AnswerInverseOffers {
                offer_ids,
                accepted,
                refuse_ms,
            } => self.answer(offer_ids, accepted, refuse_ms),
            SchedulerCommand::Reconcile { tasks } => self.reconcile(tasks),
            SchedulerCommand::Acknowledge {
                agent_id,
                task_id,
                uuid,
            } => self.driver.call(Call {
                r#type: Some(call::Type::Acknowledge.into()),
                acknowledge: Some(call::Acknowledge {
                    agent_id: mesos::AgentId { value: agent_id },
                    task_id: mesos::TaskId { value: task_id },
                    uuid,
                }),
                ..Call::default()
            }),
        };
        if let Err(error) = done {
            // Reconciliation finds out what did not happen.
            tracing::warn!(%error, "a call to the master is lost");
        }
    }

    /// Whether machines may go down.
    fn answer(
        &self,
        offer_ids: Vec<String>,
        accepted: bool,
        refuse_ms: u64,
    ) -> Result<(), tepui_sdk::Error> {
        let ids = offer_ids.into_iter().map(|value| mesos::OfferId { value });
        let inverse_offer_ids = ids.collect();
        let filters = Some(mesos::Filters {
            refuse_seconds: Some(Duration::from_millis(refuse_ms).as_secs_f64()),
        });
        self.driver.call(if accepted {
            Call {
                r#type: Some(call::Type::AcceptInverseOffers.into()),
                accept_inverse_offers: Some(call::AcceptInverseOffers {
                    inverse_offer_ids,
                    filters,
                }),
                ..Call::default()
            }
        } else {
            Call {
                r#type: Some(call::Type::DeclineInverseOffers.into()),
                decline_inverse_offers: Some(call::DeclineInverseOffers {
                    inverse_offer_ids,
                    filters,
                }),
                ..Call::default()
            }
        })
    }

    /// An ACCEPT of offers that are void: sent as it is, so that the master's answer reaches the core by the usual way.
    fn accept_void(
        &self,
        offer_ids: Vec<String>,
        mut operations: Vec<mesos::offer::Operation>,
        tasks: Vec<mesos::TaskInfo>,
    ) -> Result<(), tepui_sdk::Error> {
        if !tasks.is_empty() {
            operations.push(mesos::offer::Operation {
                r#type: Some(mesos::offer::operation::Type::Launch.into()),
                launch: Some(mesos::offer::operation::Launch { task_infos: tasks }),
                ..Default::default()
            });
        }
        self.driver.call(Call {
            r#type: Some(call::Type::Accept.into()),
            accept: Some(call::Accept {
                offer_ids: offer_ids
                    .into_iter()
                    .map(|value| mesos::OfferId { value })
                    .collect(),
                operations,
                filters: None,
            }),
            ..Call::default()
        })
    }

    /// Adds roles to the subscription that are not in it yet.
    fn subscribe_to(&mut self, roles: &[String]) -> Result<(), tepui_sdk::Error> {
        let Some(wanted) = self.roles.with(roles) else {
            return Ok(());
        };
        self.description.id = self.driver.framework_id().map(|id| mesos::FrameworkId {
            value: id.to_string(),
        });
        let sent = self.driver.call(Call {
            r#type: Some(call::Type::UpdateFramework.into()),
            update_framework: Some(Box::new(call::UpdateFramework {
                framework_info: mesos::FrameworkInfo {
                    roles: wanted.clone(),
                    ..self.description.clone()
                },
                ..Default::default()
            })),
            ..Call::default()
        });
        match sent {
            Ok(()) => self.roles.sent(wanted),
            Err(_) => self.roles.unsent(wanted, Instant::now()),
        }
        sent
    }

    fn reconcile(&self, tasks: Vec<(String, Option<String>)>) -> Result<(), tepui_sdk::Error> {
        let tasks = tasks
            .into_iter()
            .map(|(task, agent)| call::reconcile::Task {
                task_id: mesos::TaskId { value: task },
                agent_id: agent.map(|value| mesos::AgentId { value }),
            })
            .collect();
        self.driver.call(Call {
            r#type: Some(call::Type::Reconcile.into()),
            reconcile: Some(call::Reconcile { tasks }),
            ..Call::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tepui_coordination::store::MemoryStore;

    use super::*;

    /// Without its id all tasks and volumes are left behind: only who was removed has no other choice.
    #[test]
    fn who_was_removed_gets_a_new_id_and_nobody_else() {
        let ended = |message: &str| tepui_sdk::Error::Ended {
            framework_id: None,
            message: message.to_owned(),
        };
        let refused = |status| tepui_sdk::Error::Refused {
            master: "m:5050".to_owned(),
            status,
            message: "no".to_owned(),
        };
        for (error, kept) in [
            (ended("Framework failed over"), true),
            (ended("Framework has been removed"), false),
            (ended("Changing framework's user is not allowed"), true),
            (refused(400), true),
            (refused(401), true),
            (refused(403), true),
        ] {
            let id = Some(FrameworkId::new("f-1").expect("an id"));
            let id = match Over::of(&error, id) {
                Over::Replaced(id) | Over::Refused { id, .. } => id,
                Over::Removed(_) => None,
            };
            assert_eq!(id.as_deref(), kept.then_some("f-1"), "{error}");
        }
    }

    #[tokio::test]
    async fn who_was_taken_over_from_is_told_by_the_store_whether_it_leads() {
        let store: SharedStore = Arc::new(MemoryStore::new());
        storage::still_leads(&store, 2).await.expect("it leads");
        storage::still_leads(&store, 3)
            .await
            .expect("another leads");
        let told = storage::still_leads(&store, 2).await;
        assert!(matches!(told, Err(StoreError::Fenced { .. })), "{told:?}");
    }
}

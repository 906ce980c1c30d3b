//! A plugin as it is spoken to: gRPC on its unix sockets, each call within a time.
//!
//! Nothing is kept between two volumes: who runs the plugin may start another one in its place at any moment.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tepui_grpc::csi;
use tepui_grpc::csi::controller_client::ControllerClient;
use tepui_grpc::csi::controller_service_capability as controller;
use tepui_grpc::csi::identity_client::IdentityClient;
use tepui_grpc::csi::node_client::NodeClient;
use tepui_grpc::csi::node_service_capability as node;
use tepui_grpc::csi::plugin_capability as plugin;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Request, Response, Status};

use super::config::Plugin;
use super::record::Record;

/// For each call, as for `dvdcli`. Mesos gives its plugins half of that.
const PATIENCE: Duration = Duration::from_secs(120);
/// Of a plugin's complaint.
const MAX_SAID_CHARS: usize = 4096;

/// Why a call did not do what it was to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) why: String,
    /// Nothing has been done.
    pub(super) refused: bool,
    /// What the plugin answered, if it did.
    code: Option<Code>,
}

impl Fault {
    fn refused(why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            refused: true,
            code: None,
        }
    }

    pub(super) fn unclear(why: impl Into<String>) -> Self {
        Self {
            refused: false,
            ..Self::refused(why)
        }
    }
}

impl From<Fault> for String {
    fn from(fault: Fault) -> Self {
        fault.why
    }
}

/// Calls to the plugins since the agent's start, as Mesos counts them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Calls {
    /// Under way.
    pub(crate) pending: u64,
    /// Answered.
    pub(crate) finished: u64,
    /// Answered by an error, or not in time.
    pub(crate) failed: u64,
}

/// By plugin. Bounded by those that have a file.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts(Arc<Mutex<BTreeMap<String, Calls>>>);

impl Counts {
    pub(super) fn all(&self) -> BTreeMap<String, Calls> {
        self.0.lock().clone()
    }

    fn of(&self, plugin: &str, change: impl FnOnce(&mut Calls)) {
        change(self.0.lock().entry(plugin.to_owned()).or_default());
    }
}

/// A call that is under way. However it ends, it then is so no more.
struct Pending<'a> {
    counts: &'a Counts,
    plugin: &'a str,
}

impl<'a> Pending<'a> {
    fn new(counts: &'a Counts, plugin: &'a str) -> Self {
        counts.of(plugin, |calls| calls.pending += 1);
        Self { counts, plugin }
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.counts.of(self.plugin, |calls| calls.pending -= 1);
    }
}

/// What a plugin does of what some plugins do.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Abilities {
    /// Volumes are made ready before they are published.
    pub(super) stages: bool,
    /// The storage is told which machines reach a volume: this one is known to it as this.
    pub(super) attaches_to: Option<String>,
    /// The storage is told that a machine only reads.
    attaches_readers: bool,
}

/// A plugin that can be spoken to.
#[derive(Debug)]
pub(super) struct Link {
    plugin: String,
    node: Channel,
    controller: Option<Channel>,
    counts: Counts,
    patience: Duration,
}

async fn connect(socket: &Path) -> Result<Channel, Fault> {
    let path: PathBuf = socket.to_owned();
    let connector = tower::service_fn(move |_: Uri| {
        let path = path.clone();
        async move { Ok::<_, io::Error>(TokioIo::new(UnixStream::connect(path).await?)) }
    });
    // Nobody resolves the name; plugins see it.
    let endpoint = Endpoint::from_static("http://localhost");
    let connected = endpoint.connect_with_connector(connector);
    let why = match tokio::time::timeout(PATIENCE, connected).await {
        Ok(Ok(channel)) => return Ok(channel),
        Ok(Err(error)) => {
            let mut why = error.to_string();
            let mut cause = error.source();
            while let Some(error) = cause {
                why = error.to_string();
                cause = error.source();
            }
            why
        }
        Err(_) => format!("no answer within {PATIENCE:?}"),
    };
    let socket = socket.display();
    Err(Fault::refused(format!(
        "the plugin cannot be reached at {socket}: {why}"
    )))
}

/// Whether the interface says of this code that nothing has been done.
fn is_refusal(code: Code) -> bool {
    matches!(
        code,
        Code::InvalidArgument
            | Code::NotFound
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented
    )
}

fn fault(call: &str, status: &Status) -> Fault {
    let said: String = status.message().chars().take(MAX_SAID_CHARS).collect();
    let lines: Vec<&str> = said.lines().map(str::trim).collect();
    let code = status.code();
    Fault {
        why: match lines.join("; ") {
            said if said.is_empty() => format!("{call}: {code:?}"),
            said => format!("{call}: {code:?}: {said}"),
        },
        refused: is_refusal(code),
        code: Some(code),
    }
}

impl Link {
    /// Connects to the plugin's sockets.
    pub(super) async fn open(plugin: &Plugin, counts: &Counts) -> Result<Self, Fault> {
        let node = connect(&plugin.node).await?;
        let controller = match &plugin.controller {
            Some(socket) if *socket == plugin.node => Some(node.clone()),
            Some(socket) => Some(connect(socket).await?),
            None => None,
        };
        Ok(Self {
            plugin: plugin.kind.clone(),
            node,
            controller,
            counts: counts.clone(),
            patience: PATIENCE,
        })
    }

    #[cfg(test)]
    pub(super) fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    fn ask<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.patience);
        request
    }

    /// Waits for a call's answer.
    async fn call<T>(
        &self,
        name: &str,
        answer: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Fault> {
        let pending = Pending::new(&self.counts, &self.plugin);
        let answer = tokio::time::timeout(self.patience, answer).await;
        drop(pending);
        let failed = match answer {
            Ok(Ok(answer)) => {
                self.counts.of(&self.plugin, |calls| calls.finished += 1);
                return Ok(answer.into_inner());
            }
            // tonic's own clock may be the first to ring.
            Ok(Err(status)) if status.message() != "Timeout expired" => fault(name, &status),
            _ => Fault::unclear(format!("{name}: no answer within {:?}", self.patience)),
        };
        self.counts.of(&self.plugin, |calls| calls.failed += 1);
        Err(failed)
    }

    /// Asks whether the plugin is ready, and what it does.
    pub(super) async fn negotiate(&self) -> Result<Abilities, Fault> {
        let mut identity = IdentityClient::new(self.node.clone());
        let probed = identity.probe(self.ask(csi::ProbeRequest {}));
        match self.call("Probe", probed).await {
            Ok(probed) if probed.ready == Some(false) => {
                return Err(Fault::refused("Probe: the plugin is not ready yet"));
            }
            Ok(_) => {}
            Err(fault) if fault.code == Some(Code::Unimplemented) => {
                return Err(Fault::refused(
                    "the plugin does not speak version 1 of CSI, and others are not built",
                ));
            }
            Err(fault) => return Err(fault),
        }
        let mut nodes = NodeClient::new(self.node.clone());
        let can = nodes.node_get_capabilities(self.ask(csi::NodeGetCapabilitiesRequest {}));
        let can = self.call("NodeGetCapabilities", can).await?;
        let mut abilities = Abilities {
            stages: can.capabilities.iter().any(|one| {
                matches!(one.r#type, Some(node::Type::Rpc(rpc))
                    if rpc.r#type() == node::rpc::Type::StageUnstageVolume)
            }),
            ..Abilities::default()
        };
        let Some(channel) = &self.controller else {
            return Ok(abilities);
        };
        let mut identity = IdentityClient::new(channel.clone());
        let serves =
            identity.get_plugin_capabilities(self.ask(csi::GetPluginCapabilitiesRequest {}));
        let serves = self.call("GetPluginCapabilities", serves).await?;
        let is_controller = serves.capabilities.iter().any(|one| {
            matches!(one.r#type, Some(plugin::Type::Service(service))
                if service.r#type() == plugin::service::Type::ControllerService)
        });
        if !is_controller {
            return Err(Fault::refused(
                "its configuration has an endpoint of CONTROLLER_SERVICE, and the plugin says that it has no such service",
            ));
        }
        let mut controllers = ControllerClient::new(channel.clone());
        let can = controllers
            .controller_get_capabilities(self.ask(csi::ControllerGetCapabilitiesRequest {}));
        let can = self.call("ControllerGetCapabilities", can).await?;
        let does = |wanted| {
            can.capabilities.iter().any(|one| {
                matches!(one.r#type, Some(controller::Type::Rpc(rpc)) if rpc.r#type() == wanted)
            })
        };
        abilities.attaches_readers = does(controller::rpc::Type::PublishReadonly);
        if does(controller::rpc::Type::PublishUnpublishVolume) {
            let info = nodes.node_get_info(self.ask(csi::NodeGetInfoRequest {}));
            let node_id = self.call("NodeGetInfo", info).await?.node_id;
            if node_id.is_empty() {
                return Err(Fault::refused("NodeGetInfo: the answer has no 'node_id'"));
            }
            abilities.attaches_to = Some(node_id);
        }
        Ok(abilities)
    }

    fn controllers(&self) -> Result<ControllerClient<Channel>, Fault> {
        let channel = self.controller.clone();
        channel.map(ControllerClient::new).ok_or_else(|| {
            Fault::unclear("its configuration has no endpoint of CONTROLLER_SERVICE any more")
        })
    }

    /// Lets this machine reach the volume; what the storage says about it.
    pub(super) async fn attach(
        &self,
        record: &Record,
        abilities: &Abilities,
    ) -> Result<BTreeMap<String, String>, Fault> {
        let request = csi::ControllerPublishVolumeRequest {
            volume_id: record.wanted.key.id.clone(),
            node_id: record.node_id.clone(),
            volume_capability: Some(record.wanted.capability()),
            readonly: record.wanted.read_only && abilities.attaches_readers,
            volume_context: record.wanted.context.clone(),
        };
        let mut controllers = self.controllers()?;
        let answer = controllers.controller_publish_volume(self.ask(request));
        let answer = self.call("ControllerPublishVolume", answer).await?;
        Ok(answer.publish_context)
    }

    pub(super) async fn detach(&self, record: &Record) -> Result<(), Fault> {
        let request = csi::ControllerUnpublishVolumeRequest {
            volume_id: record.wanted.key.id.clone(),
            node_id: record.node_id.clone(),
        };
        let mut controllers = self.controllers()?;
        let answer = controllers.controller_unpublish_volume(self.ask(request));
        self.call("ControllerUnpublishVolume", answer).await?;
        Ok(())
    }

    pub(super) async fn stage(&self, record: &Record) -> Result<(), Fault> {
        let request = csi::NodeStageVolumeRequest {
            volume_id: record.wanted.key.id.clone(),
            publish_context: record.publish_context.clone(),
            staging_target_path: text(&record.staging),
            volume_capability: Some(record.wanted.capability()),
            volume_context: record.wanted.context.clone(),
        };
        let mut nodes = NodeClient::new(self.node.clone());
        let answer = nodes.node_stage_volume(self.ask(request));
        self.call("NodeStageVolume", answer).await?;
        Ok(())
    }

    pub(super) async fn unstage(&self, record: &Record) -> Result<(), Fault> {
        let request = csi::NodeUnstageVolumeRequest {
            volume_id: record.wanted.key.id.clone(),
            staging_target_path: text(&record.staging),
        };
        let mut nodes = NodeClient::new(self.node.clone());
        let answer = nodes.node_unstage_volume(self.ask(request));
        self.call("NodeUnstageVolume", answer).await?;
        Ok(())
    }

    /// `staged`: it has been made ready.
    pub(super) async fn publish(&self, record: &Record, staged: bool) -> Result<(), Fault> {
        let request = csi::NodePublishVolumeRequest {
            volume_id: record.wanted.key.id.clone(),
            publish_context: record.publish_context.clone(),
            staging_target_path: match staged {
                true => text(&record.staging),
                false => String::new(),
            },
            target_path: text(&record.target),
            volume_capability: Some(record.wanted.capability()),
            readonly: record.wanted.read_only,
            volume_context: record.wanted.context.clone(),
        };
        let mut nodes = NodeClient::new(self.node.clone());
        let answer = nodes.node_publish_volume(self.ask(request));
        self.call("NodePublishVolume", answer).await?;
        Ok(())
    }

    pub(super) async fn unpublish(&self, record: &Record) -> Result<(), Fault> {
        let request = csi::NodeUnpublishVolumeRequest {
            volume_id: record.wanted.key.id.clone(),
            target_path: text(&record.target),
        };
        let mut nodes = NodeClient::new(self.node.clone());
        let answer = nodes.node_unpublish_volume(self.ask(request));
        self.call("NodeUnpublishVolume", answer).await?;
        Ok(())
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

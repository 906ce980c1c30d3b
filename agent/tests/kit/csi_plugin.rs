//! A CSI plugin for tests: it serves all three services on one unix socket, writes down what it is asked, and keeps books that it refuses to have
//! muddled. Its volumes are directories, which it shows where it is told to: by bind mounts, or, for who is not root, by empty directories.
//!
//! Who has it in another process (`agent/examples/csi_plugin.rs`) finds what it was asked in the file `calls`, and has it refuse what is named by
//! a file in `refuses`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::future::pending;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tepui_grpc::csi::controller_server::{Controller, ControllerServer};
use tepui_grpc::csi::identity_server::{Identity, IdentityServer};
use tepui_grpc::csi::node_server::{Node, NodeServer};
use tepui_grpc::csi::volume_capability::AccessType;
use tepui_grpc::csi::*;
use tokio::net::UnixListener;
use tokio::sync::oneshot;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Code, Request, Response, Status};

/// What this plugin knows the machine as.
pub const NODE_ID: &str = "machine-1";

/// What a plugin does of what some plugins do.
#[derive(Debug, Clone, Copy)]
pub struct Does {
    pub stage: bool,
    pub attach: bool,
    pub attach_readers: bool,
    /// Bind mounts; otherwise directories alone, which anybody can make.
    pub mounts: bool,
}

/// How a call goes wrong.
#[derive(Debug, Clone)]
pub enum Wrong {
    /// It answers this, and does nothing.
    Says(Code, &'static str),
    /// It does what it is asked and answers this.
    DoesAndSays(Code, &'static str),
    /// It never answers.
    Hangs,
}

#[derive(Debug, Default)]
struct Books {
    calls: Vec<String>,
    wrong: HashMap<&'static str, Wrong>,
    attached: BTreeSet<String>,
    /// By id: where.
    staged: BTreeMap<String, String>,
    published: BTreeMap<String, String>,
    last_attach: Option<ControllerPublishVolumeRequest>,
    last_stage: Option<NodeStageVolumeRequest>,
    last_publish: Option<NodePublishVolumeRequest>,
}

#[derive(Clone)]
struct Served {
    does: Does,
    folder: PathBuf,
    books: Arc<Mutex<Books>>,
}

/// The plugin, which serves until it is dropped.
pub struct CsiPlugin {
    served: Served,
    socket: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl CsiPlugin {
    /// Starts one whose socket, `csi.sock`, and volumes, `volumes/<id>`, are in this folder.
    pub fn start(folder: &Path, does: Does) -> Self {
        let served = Served {
            does,
            folder: folder.to_owned(),
            books: Arc::default(),
        };
        let mut plugin = Self {
            served,
            socket: folder.join("csi.sock"),
            stop: None,
            thread: None,
        };
        plugin.serve();
        plugin
    }

    /// Its file in the agent's `--csi_plugin_config_dir`. It is named `plugin`.
    pub fn configure(&self, directory: &Path, more: &str) {
        let socket = self.socket.display();
        let controller = match self.served.does.attach {
            true => {
                format!(r#",{{"csi_service":"CONTROLLER_SERVICE","endpoint":"unix://{socket}"}}"#)
            }
            false => String::new(),
        };
        let text = format!(
            r#"{{"type":"plugin","endpoints":[{{"csi_service":"NODE_SERVICE","endpoint":"{socket}"}}{controller}]{more}}}"#
        );
        fs::create_dir_all(directory).unwrap();
        fs::write(directory.join("plugin.json"), text).unwrap();
    }

    /// Serves again, with the books that it has.
    pub fn serve(&mut self) {
        self.stop();
        let _ = fs::remove_file(&self.socket);
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let (served, socket) = (self.served.clone(), self.socket.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let listener = UnixListener::bind(socket).unwrap();
                ready.send(()).unwrap();
                let serving = tonic::transport::Server::builder()
                    .add_service(IdentityServer::new(served.clone()))
                    .add_service(ControllerServer::new(served.clone()))
                    .add_service(NodeServer::new(served))
                    .serve_with_incoming(UnixListenerStream::new(listener));
                tokio::select! {
                    ended = serving => ended.unwrap(),
                    _ = stopped => {}
                }
            });
        });
        is_ready.recv().unwrap();
        (self.stop, self.thread) = (Some(stop), Some(thread));
    }

    /// Serves no more.
    pub fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.served.books.lock().unwrap()
    }

    /// What it was asked to do since the last time; what it was asked about itself is not among it.
    pub fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.books().calls)
    }

    /// From now on this call goes wrong like this.
    pub fn goes_wrong(&self, call: &'static str, wrong: Wrong) {
        self.books().wrong.insert(call, wrong);
    }

    /// All goes well from now on.
    pub fn recovers(&self) {
        self.books().wrong.clear();
    }

    /// How many volumes are attached, staged and published.
    pub fn held(&self) -> [usize; 3] {
        let books = self.books();
        [
            books.attached.len(),
            books.staged.len(),
            books.published.len(),
        ]
    }

    /// What was asked last.
    pub fn last_attach(&self) -> ControllerPublishVolumeRequest {
        self.books().last_attach.clone().unwrap()
    }

    /// What was asked last.
    pub fn last_stage(&self) -> NodeStageVolumeRequest {
        self.books().last_stage.clone().unwrap()
    }

    /// What was asked last.
    pub fn last_publish(&self) -> NodePublishVolumeRequest {
        self.books().last_publish.clone().unwrap()
    }
}

impl Drop for CsiPlugin {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Served {
    fn volume(&self, id: &str) -> PathBuf {
        self.folder.join("volumes").join(id)
    }

    fn note(&self, line: &str) {
        let path = self.folder.join("calls");
        let file = fs::File::options().create(true).append(true).open(path);
        file.unwrap().write_all(line.as_bytes()).unwrap();
    }

    fn show(&self, from: &Path, at: &str, read_only: bool) {
        if self.does.mounts {
            let none = None::<&str>;
            mount(Some(from), at, none, MsFlags::MS_BIND, none).unwrap();
            if read_only {
                let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
                mount(none, at, none, flags, none).unwrap();
            }
        }
    }

    fn publish(&self, asked: &NodePublishVolumeRequest) {
        let (id, at) = (&asked.volume_id, &asked.target_path);
        let capability = asked.volume_capability.clone().unwrap_or_default();
        let from = match capability.access_type {
            // A device of this name is the volume.
            Some(AccessType::Block(_)) => {
                fs::write(at, "").unwrap();
                Path::new("/dev").join(id)
            }
            _ => {
                fs::create_dir_all(self.volume(id)).unwrap();
                fs::create_dir_all(at).unwrap();
                self.volume(id)
            }
        };
        self.show(&from, at, asked.readonly);
    }

    fn hide(&self, at: &str) {
        if self.does.mounts {
            umount2(at, MntFlags::MNT_DETACH).unwrap();
        }
    }

    /// Writes the call down, and does it, unless it goes wrong.
    async fn call<T>(
        &self,
        call: &'static str,
        id: &str,
        answer: T,
        act: impl FnOnce(&mut Books) -> Result<(), Status>,
    ) -> Result<Response<T>, Status> {
        let wrong = {
            let mut books = self.books.lock().unwrap();
            self.note(&format!("{call} {id}\n"));
            books.calls.push(format!("{call} {id}"));
            let refuses = self.folder.join("refuses").join(call).exists();
            let refused = Wrong::Says(Code::NotFound, "no disk of this name");
            let wrong = books.wrong.get(call).cloned();
            let wrong = wrong.or(refuses.then_some(refused));
            if !matches!(wrong, Some(Wrong::Says(..) | Wrong::Hangs)) {
                act(&mut books)?;
            }
            wrong
        };
        match wrong {
            None => Ok(Response::new(answer)),
            Some(Wrong::Says(code, why) | Wrong::DoesAndSays(code, why)) => {
                Err(Status::new(code, why))
            }
            Some(Wrong::Hangs) => pending().await,
        }
    }

    /// What it says about itself, unless that goes wrong.
    async fn about<T>(&self, call: &'static str, answer: T) -> Result<Response<T>, Status> {
        let wrong = self.books.lock().unwrap().wrong.get(call).cloned();
        match wrong {
            None => Ok(Response::new(answer)),
            Some(Wrong::Says(code, why) | Wrong::DoesAndSays(code, why)) => {
                Err(Status::new(code, why))
            }
            Some(Wrong::Hangs) => pending().await,
        }
    }
}

#[tonic::async_trait]
impl Identity for Served {
    async fn get_plugin_info(
        &self,
        _: Request<GetPluginInfoRequest>,
    ) -> Result<Response<GetPluginInfoResponse>, Status> {
        let answer = GetPluginInfoResponse {
            name: "plugin".to_owned(),
            vendor_version: "1".to_owned(),
        };
        self.about("GetPluginInfo", answer).await
    }

    async fn get_plugin_capabilities(
        &self,
        _: Request<GetPluginCapabilitiesRequest>,
    ) -> Result<Response<GetPluginCapabilitiesResponse>, Status> {
        let controller = plugin_capability::Service {
            r#type: plugin_capability::service::Type::ControllerService.into(),
        };
        let one = PluginCapability {
            r#type: Some(plugin_capability::Type::Service(controller)),
        };
        let answer = GetPluginCapabilitiesResponse {
            capabilities: vec![one],
        };
        self.about("GetPluginCapabilities", answer).await
    }

    async fn probe(&self, _: Request<ProbeRequest>) -> Result<Response<ProbeResponse>, Status> {
        self.about("Probe", ProbeResponse { ready: None }).await
    }
}

#[tonic::async_trait]
impl Controller for Served {
    async fn controller_get_capabilities(
        &self,
        _: Request<ControllerGetCapabilitiesRequest>,
    ) -> Result<Response<ControllerGetCapabilitiesResponse>, Status> {
        use controller_service_capability::{Rpc, Type, rpc};
        let all = [
            (self.does.attach, rpc::Type::PublishUnpublishVolume),
            (self.does.attach_readers, rpc::Type::PublishReadonly),
        ];
        let one = |kind: rpc::Type| ControllerServiceCapability {
            r#type: Some(Type::Rpc(Rpc {
                r#type: kind.into(),
            })),
        };
        let capabilities = all.into_iter().filter(|(does, _)| *does);
        let answer = ControllerGetCapabilitiesResponse {
            capabilities: capabilities.map(|(_, kind)| one(kind)).collect(),
        };
        self.about("ControllerGetCapabilities", answer).await
    }

    async fn controller_publish_volume(
        &self,
        request: Request<ControllerPublishVolumeRequest>,
    ) -> Result<Response<ControllerPublishVolumeResponse>, Status> {
        let asked = request.into_inner();
        let id = asked.volume_id.clone();
        let answer = ControllerPublishVolumeResponse {
            publish_context: [("device".to_owned(), "sdx".to_owned())].into(),
        };
        self.call("ControllerPublishVolume", &id.clone(), answer, |books| {
            books.attached.insert(id);
            books.last_attach = Some(asked);
            Ok(())
        })
        .await
    }

    async fn controller_unpublish_volume(
        &self,
        request: Request<ControllerUnpublishVolumeRequest>,
    ) -> Result<Response<ControllerUnpublishVolumeResponse>, Status> {
        let asked = request.into_inner();
        let answer = ControllerUnpublishVolumeResponse {};
        self.call(
            "ControllerUnpublishVolume",
            &asked.volume_id,
            answer,
            |books| {
                if asked.node_id != NODE_ID {
                    return Err(Status::not_found("no such node"));
                }
                if books.staged.contains_key(&asked.volume_id)
                    || books.published.contains_key(&asked.volume_id)
                {
                    return Err(Status::failed_precondition("it is in use"));
                }
                books.attached.remove(&asked.volume_id);
                Ok(())
            },
        )
        .await
    }
}

#[tonic::async_trait]
impl Node for Served {
    async fn node_get_capabilities(
        &self,
        _: Request<NodeGetCapabilitiesRequest>,
    ) -> Result<Response<NodeGetCapabilitiesResponse>, Status> {
        use node_service_capability::{Rpc, Type, rpc};
        let stages = NodeServiceCapability {
            r#type: Some(Type::Rpc(Rpc {
                r#type: rpc::Type::StageUnstageVolume.into(),
            })),
        };
        let answer = NodeGetCapabilitiesResponse {
            capabilities: self.does.stage.then_some(stages).into_iter().collect(),
        };
        self.about("NodeGetCapabilities", answer).await
    }

    async fn node_get_info(
        &self,
        _: Request<NodeGetInfoRequest>,
    ) -> Result<Response<NodeGetInfoResponse>, Status> {
        let node_id = NODE_ID.to_owned();
        self.about("NodeGetInfo", NodeGetInfoResponse { node_id })
            .await
    }

    async fn node_stage_volume(
        &self,
        request: Request<NodeStageVolumeRequest>,
    ) -> Result<Response<NodeStageVolumeResponse>, Status> {
        let asked = request.into_inner();
        let (id, at) = (asked.volume_id.clone(), asked.staging_target_path.clone());
        let answer = NodeStageVolumeResponse {};
        self.call("NodeStageVolume", &id.clone(), answer, |books| {
            if self.does.attach && !books.attached.contains(&id) {
                return Err(Status::failed_precondition("it is not attached"));
            }
            if !Path::new(&at).is_dir() {
                return Err(Status::invalid_argument("no directory to stage it in"));
            }
            books.staged.entry(id.clone()).or_insert_with(|| {
                fs::create_dir_all(self.volume(&id)).unwrap();
                self.show(&self.volume(&id), &at, false);
                at
            });
            books.last_stage = Some(asked);
            Ok(())
        })
        .await
    }

    async fn node_unstage_volume(
        &self,
        request: Request<NodeUnstageVolumeRequest>,
    ) -> Result<Response<NodeUnstageVolumeResponse>, Status> {
        let asked = request.into_inner();
        let answer = NodeUnstageVolumeResponse {};
        self.call("NodeUnstageVolume", &asked.volume_id, answer, |books| {
            if books.published.contains_key(&asked.volume_id) {
                return Err(Status::failed_precondition("it is published"));
            }
            if let Some(at) = books.staged.remove(&asked.volume_id) {
                assert_eq!(at, asked.staging_target_path);
                self.hide(&at);
            }
            Ok(())
        })
        .await
    }

    async fn node_publish_volume(
        &self,
        request: Request<NodePublishVolumeRequest>,
    ) -> Result<Response<NodePublishVolumeResponse>, Status> {
        let asked = request.into_inner();
        let (id, at) = (asked.volume_id.clone(), asked.target_path.clone());
        let answer = NodePublishVolumeResponse {};
        self.call("NodePublishVolume", &id.clone(), answer, |books| {
            if self.does.stage && books.staged.get(&id) != Some(&asked.staging_target_path) {
                return Err(Status::failed_precondition("it is not staged there"));
            }
            if !Path::new(&at).parent().is_some_and(Path::is_dir) {
                return Err(Status::invalid_argument("no directory to publish it in"));
            }
            books.published.entry(id).or_insert_with(|| {
                self.publish(&asked);
                at
            });
            books.last_publish = Some(asked);
            Ok(())
        })
        .await
    }

    async fn node_unpublish_volume(
        &self,
        request: Request<NodeUnpublishVolumeRequest>,
    ) -> Result<Response<NodeUnpublishVolumeResponse>, Status> {
        let asked = request.into_inner();
        let answer = NodeUnpublishVolumeResponse {};
        self.call("NodeUnpublishVolume", &asked.volume_id, answer, |books| {
            if let Some(at) = books.published.remove(&asked.volume_id) {
                assert_eq!(at, asked.target_path);
                self.hide(&at);
                let _ = match Path::new(&at).is_dir() {
                    true => fs::remove_dir(&at),
                    false => fs::remove_file(&at),
                };
            }
            Ok(())
        })
        .await
    }
}

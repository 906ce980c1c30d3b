//! Container images: named, pulled, verified, unpacked, shared by containers, and collected when nobody needs them.
//!
//! [`Store`] is the door. [`Store::get`] answers with an image that is whole on the disk, from wherever its [`Reference`] points: a
//! registry over the OCI distribution API, an OCI layout directory, or an archive of `docker save`. [`Store::make_root`] lays a
//! container's own directories over the image's layers; [`Store::release`] takes them away.
//!
//! **Promises.**
//! - Every blob is checked against its digest while it streams to the disk, every layer against its `diff_id` while it is unpacked.
//! - What has its final name is whole: things are made under another name, synchronised, then renamed. What a crash left is swept at
//!   the next start.
//! - A layer is pulled once, however many images and tasks want it at the same time; when nobody wants it any more, its pull ends.
//! - An archive cannot write outside of its layer, make devices, or outgrow [`Bounds`].
//! - A layer that a container uses is never removed, also after a restart of the agent: [`Store::recover`].
//! - An error names the image, the cause and what to do ([`ImageError`]).
//!
//! **Left out.** Mounting (the containerizer's: it needs the container's namespaces), pushing and building.

mod archive;
mod credentials;
mod digest;
mod error;
mod flights;
pub mod http_client;
mod layout;
mod manifest;
mod names;
mod reference;
mod registry;
mod roots;
mod source;
mod store;
mod unpack;

pub use credentials::{Credentials, CredentialsError};
pub use digest::Digest;
pub use error::{ImageError, Problem};
pub use manifest::ImageConfig;
pub use reference::{Reference, ReferenceError};
pub use registry::RegistryOptions;
pub use roots::{Root, remove_tree};
pub use store::{Held, Image, ImageFacts, Pruned, Store, StoreConfig, Wanted};
pub use unpack::Bounds;

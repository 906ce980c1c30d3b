//! Images that no container uses go when the disk is short, or when an operator says so, and with them the layers that nobody needs then.

use std::collections::HashSet;
use std::fs;

use super::{Inner, Pruned};
use crate::digest::Digest;
use crate::reference::Reference;
use crate::roots::layer_name;

impl Inner {
    pub(super) fn remove_unused(&self, excluded: &[Reference], short: &dyn Fn() -> bool) -> Pruned {
        let excluded: HashSet<String> = excluded.iter().map(ToString::to_string).collect();
        let mut pruned = Pruned::default();
        let mut candidates: Vec<(u64, String)> = {
            let known = self.known.lock();
            let unused = known
                .images
                .iter()
                .filter(|(name, image)| image.uses == 0 && !excluded.contains(*name));
            unused
                .map(|(name, image)| (image.used_at_ms, name.clone()))
                .collect()
        };
        candidates.sort();
        for (_, name) in candidates {
            if !short() {
                break;
            }
            let mut known = self.known.lock();
            // It may have been taken up meanwhile.
            if known.images.get(&name).is_none_or(|image| image.uses > 0) {
                continue;
            }
            known.images.remove(&name);
            // The record goes first: an image without layers must not be found.
            if let Err(error) = fs::remove_file(self.image_path(&name)) {
                tracing::warn!("cannot remove the record of image '{name}': {error}");
            }
            drop(known);
            pruned.images.push(name);
            self.remove_layers(&mut pruned);
        }
        // Those of images that were pulled anew under their old name.
        self.remove_layers(&mut pruned);
        pruned
    }

    /// Removes layers that no image names and nobody holds.
    fn remove_layers(&self, pruned: &mut Pruned) {
        let mut moved = Vec::new();
        {
            let mut known = self.known.lock();
            let named: HashSet<Digest> = known
                .images
                .values()
                .flat_map(|image| image.image.layers.iter().copied())
                .collect();
            let loose: Vec<(Digest, u64)> = known
                .layers
                .iter()
                .filter(|(digest, layer)| layer.uses == 0 && !named.contains(*digest))
                .map(|(digest, layer)| (*digest, layer.facts.bytes))
                .collect();
            for (digest, bytes) in loose {
                let place = self.path("layers").join(layer_name(&digest));
                let aside = self.scratch("removed");
                if let Err(error) = fs::rename(&place, &aside.0) {
                    tracing::warn!("cannot remove layer {digest}: {error}");
                    continue;
                }
                let _ = fs::remove_file(place.with_extension("json"));
                known.layers.remove(&digest);
                pruned.layers += 1;
                pruned.bytes += bytes;
                moved.push(aside);
            }
        }
        // Deleted here, with nobody waiting for the lock.
        drop(moved);
    }
}

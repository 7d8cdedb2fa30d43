//! Names of images: which one was meant, and taking one away.

use super::{ImageRecord, Store};
use crate::error::{Error, Result};
use crate::reference::Reference;
use crate::registries::Registries;
use crate::store::Image;

impl Store {
    /// [`Store::find`], and the whole name that it was found by; none for an id or digest.
    ///
    /// # Errors
    /// Those of [`Store::find`].
    pub fn find_named(&self, name: &str, registries: &Registries) -> Result<Option<(Image, Option<String>)>> {
        let Some((record, by_name)) = self.find_record(name, registries)? else { return Ok(None) };
        Ok(self.load(record)?.map(|image| (image, by_name)))
    }

    /// Diff ids and sizes (in bytes) of an image's layers, the lowest first.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`] when the image was removed meanwhile, [`Error::Io`].
    pub fn layers_of(&self, image: &Image) -> Result<Vec<(String, u64)>> {
        let gone = || Error::NoSuchImage(image.id.clone());
        let config = crate::digest::Digest::from_hex(&image.id).ok_or_else(gone)?;
        let record = self.image_record(&config)?.ok_or_else(gone)?;
        let layers = record.layers.iter().map(|diff_id| {
            let layer = self.layer(diff_id)?.ok_or_else(gone)?;
            Ok((diff_id.to_string(), layer.size))
        });
        layers.collect()
    }

    /// Takes a name away from an image, which stays, also without any name.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`] when the image does not have the name, [`Error::Io`].
    pub fn untag(&self, image: &Image, name: &Reference) -> Result<()> {
        let _lock = self.lock_records()?;
        let name = name.to_string();
        let record = self.name_record(&name)?.filter(|record| record.image.hex() == image.id);
        let Some(record) = record else { return Err(Error::NoSuchImage(name)) };
        self.remove_name(&name)?;
        if let Some(image) = self.image_record(&record.image)? {
            let names = image.names.iter().filter(|other| **other != name).cloned().collect();
            self.write_image_record(&ImageRecord { names, ..image })?;
        }
        Ok(())
    }
}

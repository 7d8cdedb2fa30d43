pub(crate) fn restore(_: &crate::args::Global, _: &crate::args::Restore) -> anyhow::Result<u8> {
    anyhow::bail!("not yet")
}

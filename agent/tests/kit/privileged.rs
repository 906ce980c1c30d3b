/// Whether a test that needs root may go on. Without root it fails, so that nobody takes for checked what was not; who wants the others alone says
/// so with `TEPUI_WITHOUT_ROOT=1`.
pub(crate) fn privileged() -> bool {
    let root = nix::unistd::geteuid().is_root();
    assert!(
        root || std::env::var_os("TEPUI_WITHOUT_ROOT").is_some(),
        "this test needs root: run it as root, or leave out all that do with TEPUI_WITHOUT_ROOT=1"
    );
    root
}

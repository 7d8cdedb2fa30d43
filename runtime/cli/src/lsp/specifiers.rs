//! systemd's specifiers (systemd.unit(5), "Specifiers"), which a value may hold and which are resolved
//! when the unit is loaded.

/// Each specifier's letter and what it stands for.
pub(crate) const ALL: [(char, &str); 40] = [
    ('a', "The architecture, such as x86-64"),
    ('A', "IMAGE_VERSION= of os-release(5)"),
    ('b', "The id of this boot"),
    ('B', "BUILD_ID= of os-release(5)"),
    ('C', "The cache directory: /var/cache, or the user's ~/.cache"),
    ('d', "The directory with the unit's credentials"),
    ('D', "The directory for shared data: /usr/share, or the user's ~/.local/share"),
    ('E', "The configuration directory: /etc, or the user's ~/.config"),
    ('f', "The instance's name as a path, else the unit's: unescaped, with a slash before it"),
    ('g', "The name of the group that the service manager runs as"),
    ('G', "The number of the group that the service manager runs as"),
    ('h', "The home directory of the user that the service manager runs as"),
    ('H', "The host name"),
    ('i', "The instance: what stands between @ and the suffix of the unit's name"),
    ('I', "The instance, unescaped"),
    ('j', "What stands behind the last dash of the unit's prefix"),
    ('J', "What stands behind the last dash of the unit's prefix, unescaped"),
    ('l', "The host name up to its first dot"),
    ('L', "The log directory: /var/log, or the user's ~/.local/state/log"),
    ('m', "The id of this machine"),
    ('M', "IMAGE_ID= of os-release(5)"),
    ('n', "The unit's whole name"),
    ('N', "The unit's name without its suffix, such as .service"),
    ('o', "ID= of os-release(5)"),
    ('p', "The unit's prefix: its name up to the @, or to the suffix"),
    ('P', "The unit's prefix, unescaped"),
    ('q', "The host name for people, of machine-info(5)"),
    ('s', "The shell of the user that the service manager runs as"),
    ('S', "The directory for state: /var/lib, or the user's ~/.local/state"),
    ('t', "The runtime directory: /run, or the user's $XDG_RUNTIME_DIR"),
    ('T', "The directory for temporary files: /tmp, or $TMPDIR"),
    ('u', "The name of the user that the service manager runs as"),
    ('U', "The number of the user that the service manager runs as"),
    ('v', "The kernel's release"),
    ('V', "The directory for larger temporary files: /var/tmp, or $TMPDIR"),
    ('w', "VERSION_ID= of os-release(5)"),
    ('W', "VARIANT_ID= of os-release(5)"),
    ('y', "The path of the unit's file"),
    ('Y', "The directory of the unit's file"),
    ('%', "A single percent sign"),
];

/// What a specifier stands for; `text` is the specifier with its `%`.
pub(crate) fn describe(text: &str) -> Option<&'static str> {
    let letter = text.strip_prefix('%')?.chars().next()?;
    ALL.iter().find(|(known, _)| *known == letter).map(|(_, meaning)| *meaning)
}

//! Whether a caller may act: the bus says who it is, polkit says whether that user may.
//!
//! Root is let through without asking, as systemd does it, so that containers can be controlled on a
//! system without polkit. The action is described in `org.sampan1.policy`. polkit(8).

use std::collections::HashMap;

use zbus::message::{Flags, Header};
use zbus::names::UniqueName;
use zbus::{Connection, Variant, fdo};

/// The action that stopping, killing and restarting containers needs.
pub(crate) const MANAGE: &str = "org.sampan1.manage";

const POLKIT: &str = "org.freedesktop.PolicyKit1";

/// `AllowUserInteraction` of CheckAuthorization: polkit may ask for a password.
const INTERACTION: u32 = 1;

/// Lets the sender of a message through, or says why not.
///
/// `details` are shown to the user and can be matched by polkit's rules.
///
/// # Errors
/// [`fdo::Error::AccessDenied`] if the sender may not, or nobody can say whether it may;
/// [`fdo::Error::InteractiveAuthorizationRequired`] if it may after entering a password.
pub(crate) async fn authorize(
    connection: &Connection,
    header: &Header<'_>,
    details: &HashMap<&str, &str>,
) -> fdo::Result<()> {
    let sender = header.sender().ok_or_else(|| fdo::Error::AccessDenied("the caller is unknown".into()))?;
    if user(connection, sender).await? == 0 {
        return Ok(());
    }
    let interactive = header.primary().flags().contains(Flags::ALLOW_INTERACTIVE_AUTH);
    check(connection, sender, details, interactive).await
}

/// The user who has a name on the bus.
async fn user(connection: &Connection, sender: &UniqueName<'_>) -> fdo::Result<u32> {
    let bus = "org.freedesktop.DBus";
    let reply = connection
        .call_method(Some(bus), "/org/freedesktop/DBus", Some(bus), "GetConnectionUnixUser", sender)
        .await?;
    Ok(reply.body().deserialize()?)
}

/// Asks polkit whether a name on the bus may do [`MANAGE`].
pub(crate) async fn check(
    connection: &Connection,
    sender: &UniqueName<'_>,
    details: &HashMap<&str, &str>,
    interactive: bool,
) -> fdo::Result<()> {
    let subject = ("system-bus-name", HashMap::from([("name", Variant::from(sender.as_str()))]));
    let flags = if interactive { INTERACTION } else { 0 };
    let reply = connection
        .call_method(
            Some(POLKIT),
            "/org/freedesktop/PolicyKit1/Authority",
            Some("org.freedesktop.PolicyKit1.Authority"),
            "CheckAuthorization",
            &(subject, MANAGE, details, flags, ""),
        )
        .await
        .map_err(|error| fdo::Error::AccessDenied(format!("asking polkit about {MANAGE}: {error}")))?;
    let (authorized, challenge, _): (bool, bool, HashMap<String, String>) = reply.body().deserialize()?;
    match (authorized, challenge) {
        (true, _) => Ok(()),
        (false, true) => {
            let message = format!("{MANAGE} needs a password; allow interactive authorization");
            Err(fdo::Error::InteractiveAuthorizationRequired(message))
        }
        (false, false) => Err(fdo::Error::AccessDenied(format!("polkit does not allow {MANAGE}"))),
    }
}

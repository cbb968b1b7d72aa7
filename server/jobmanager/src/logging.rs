//! Log lines on standard error: for people by default, one JSON object per line by option. The latest are kept in
//! memory, too.

use crate::security::audit::TARGET;
use taskmanager::recent_log::Heard;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::SubscriberBuilder;

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Human,
    /// One JSON object per line.
    Json,
}

/// Starts logging for the whole process, panics included. A second call changes nothing.
pub fn start(format: Format) {
    let heard = Heard::stderr();
    let builder: SubscriberBuilder<_, _, EnvFilter, _> = tracing_subscriber::fmt()
        .with_env_filter(filter())
        .with_writer(move || heard)
        // A line that cannot be written is dropped: telling about it there, too, would panic.
        .log_internal_errors(false)
        .with_target(false);
    let started = match format {
        Format::Human => builder.with_ansi(heard.has_colours()).try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    };
    if started.is_ok() {
        std::panic::set_hook(Box::new(
            |panic| tracing::error!(%panic, "broken invariant"),
        ));
    }
}

/// What is logged. Who did what is, unless the environment says otherwise of that very thing.
fn filter() -> EnvFilter {
    let told = std::env::var(EnvFilter::DEFAULT_ENV).unwrap_or_default();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    match names_audit(&told) {
        true => filter,
        false => {
            let all = format!("{TARGET}=info").parse();
            filter.add_directive(all.expect("a target and a level"))
        }
    }
}

/// Whether one of the directives is about who did what, and not about something of which that is a part.
fn names_audit(told: &str) -> bool {
    let targets = told.split(',').map(|directive| {
        let end = directive.find(['=', '[']).unwrap_or(directive.len());
        directive[..end].trim()
    });
    targets.into_iter().any(|target| target == TARGET)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_did_what_is_silenced_by_its_name_alone() {
        for (told, names) in [
            ("audit=off", true),
            ("warn,audit=warn", true),
            ("warn, audit = off", true),
            ("audit", true),
            ("audit[span]=debug", true),
            ("", false),
            ("warn", false),
            ("audits=off", false),
            ("jobmanager::security::audit=off", false),
            ("warn,auditor=debug", false),
            ("warn[audit]", false),
            ("warn[{audit=1}]=off", false),
        ] {
            assert_eq!(names_audit(told), names, "{told}");
        }
    }
}

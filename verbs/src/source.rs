//! `source`: whether the source can be captured, and what is made there for it.

use clap::{Subcommand, ValueEnum};

/// Say whether the source can be captured; make it so; clean up
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    medallion source check\n  \
    medallion source prepare --role loader --dry-run")]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What is done at the source.
#[derive(Subcommand)]
pub enum Verb {
    /// Say what keeps the source from being captured, each with its remedy
    #[command(after_help = "Example:\n  medallion source check")]
    Check {
        /// How to print it
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Make what a capture needs: grants, replica identities, publication, slot
    #[command(after_help = "Examples:\n  \
        medallion source prepare --role loader --dry-run\n  \
        medallion source prepare --role loader")]
    Prepare {
        /// Print the SQL and change nothing
        #[arg(long)]
        dry_run: bool,

        /// The role that shall capture: made where it is absent, and given the least that it needs
        #[arg(long, value_name = "NAME")]
        role: Option<String>,
    },
    /// Go on where the stream has broken off: a new slot, and what differs by now, with all history kept
    #[command(after_help = "Examples:\n  \
        medallion source resnapshot --dry-run\n  \
        medallion source resnapshot --yes")]
    Resnapshot {
        /// Say what differs and change nothing
        #[arg(long)]
        dry_run: bool,

        /// Yes, make the slot anew and land what differs
        #[arg(long)]
        yes: bool,
    },
    /// Drop slot and publication, and take back what `prepare` has made
    #[command(after_help = "Example:\n  medallion source drop --yes")]
    Drop {
        /// Yes, let go of the source
        #[arg(long)]
        yes: bool,
    },
}

/// How an answer is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Human,
    /// For programs
    Json,
}

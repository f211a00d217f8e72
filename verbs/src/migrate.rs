//! `migrate`: the migrations, applied and taken back.

use clap::Subcommand;

/// Bring the database's objects up to the spec's, or take a step back
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    medallion migrate up\n  \
    medallion migrate status")]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What is done with the migrations.
#[derive(Subcommand)]
pub enum Verb {
    /// Apply the migrations that the database lacks
    #[command(after_help = "Examples:\n  \
        medallion migrate up\n  \
        medallion migrate up --patience 600")]
    Up(Patient),
    /// Take back the last migration: what it made is dropped, rows included
    #[command(after_help = "Example:\n  medallion migrate down --yes")]
    Down(Down),
    /// Say which migrations the database has
    #[command(after_help = "Example:\n  medallion migrate status")]
    Status,
    /// Drop the whole warehouse and migrate anew; `run` then loads it from its source again
    #[command(after_help = "Example:\n  medallion migrate fresh --yes")]
    Fresh(Sure),
}

/// How long others are waited for.
#[derive(clap::Args)]
pub struct Patient {
    /// How many seconds one try waits for a lock, before others go ahead
    #[arg(long, value_name = "SECONDS", default_value_t = 2)]
    pub lock_timeout: u64,

    /// For how many seconds it goes on trying
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub patience: u64,

    /// How many seconds one statement may take; 0 for as long as it needs
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    pub statement_timeout: u64,
}

/// Taking back.
#[derive(clap::Args)]
pub struct Down {
    /// Whether it is meant.
    #[command(flatten)]
    pub sure: Sure,

    /// How long others are waited for.
    #[command(flatten)]
    pub patient: Patient,
}

/// Whether what drops rows is meant.
#[derive(clap::Args)]
pub struct Sure {
    /// Yes, drop the rows
    #[arg(long)]
    pub yes: bool,
}

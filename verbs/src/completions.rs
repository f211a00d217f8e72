//! `completions`: what a shell asks for when Tab is pressed.

use clap_complete::Shell;

/// Print completions for a shell
///
/// For bash: `medallion completions bash > ~/.local/share/bash-completion/completions/medallion`
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    medallion completions bash\n  \
    medallion completions zsh")]
pub struct Arguments {
    /// Which shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// The completions of a command, as the shell reads them.
pub fn script(mut command: clap::Command, shell: Shell) -> Vec<u8> {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    script
}

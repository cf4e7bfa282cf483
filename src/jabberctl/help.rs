//! The help: of all commands, and of one.

use jabber::admin::{COMMANDS, Command, Form, OPTIONS, manual};

use serde_json::{Value, json};

use super::{Code, Failure, say};

/// Prints the help, about one command if it is named, or about those that begin with a word.
pub(super) fn print(topic: Option<&str>, json: bool) -> Result<Code, Failure> {
    let some: Vec<&Command> = match topic {
        None if json => COMMANDS.to_vec(),
        None => return say(&all()),
        Some(topic) => match COMMANDS.iter().find(|command| command.name == topic) {
            Some(command) => vec![command],
            None => COMMANDS.iter().copied().filter(|command| command.name.split(' ').next() == Some(topic)).collect(),
        },
    };
    if some.is_empty() {
        let failure = Failure::usage(format!("there is no command \"{}\"", topic.unwrap_or_default()));
        return Err(failure.remedy("jabberctl help lists them"));
    }
    say(&match json {
        true => format!("{}\n", Value::Array(some.into_iter().map(value).collect())),
        false => some.into_iter().map(one).collect::<Vec<_>>().join("\n"),
    })
}

/// Prints what is made from the table: the manual's page, or the completion of a shell.
pub(super) fn print_as(format: &str, json: bool) -> Result<Code, Failure> {
    let text = match format {
        "man" => manual::page(),
        "bash" => manual::bash(),
        _ => manual::zsh(),
    };
    say(&if json { format!("{}\n", json!({ "as": format, "text": text })) } else { text })
}

/// A command, for programs.
fn value(command: &Command) -> Value {
    let arguments = command.arguments.iter().map(|argument| {
        let form = match argument.form {
            Form::Needed => "needed",
            Form::Optional => "optional",
            Form::Option => "option",
            Form::Flag => "flag",
        };
        json!({ "name": argument.name, "form": form, "help": argument.help })
    });
    json!({
        "command": command.name,
        "summary": command.summary,
        "usage": format!("jabberctl {}", command.usage()),
        "arguments": arguments.collect::<Vec<Value>>(),
        "details": command.details,
        "examples": command.examples.iter().map(|(line, _)| *line).collect::<Vec<&str>>(),
    })
}

fn all() -> String {
    let mut text = "jabberctl: asks the running jabberd, and tells it what to do\n\nusage: jabberctl [OPTIONS] COMMAND [ARGUMENTS]\n\n"
        .to_owned();
    let width = COMMANDS.iter().map(|command| command.name.len()).max().unwrap_or(0);
    for command in COMMANDS {
        text.push_str(&format!("  {:width$}  {}\n", command.name, command.summary));
    }
    text.push_str("\noptions:\n");
    text.push_str(&options());
    text.push_str(
        "\njabberctl help COMMAND tells more, with examples; jabberctl(8) tells all.\n\
         exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 the server cannot be asked\n",
    );
    text
}

fn options() -> String {
    let mut text = String::new();
    for shared in OPTIONS {
        let mut names = shared.names.join(", ");
        if let Some(value) = shared.value {
            names.push_str(&format!(" {value}"));
        }
        text.push_str(&format!("  {names:18}  {}\n", shared.help));
    }
    text
}

fn one(command: &Command) -> String {
    let mut text = format!("{}: {}\n\nusage: jabberctl {}\n", command.name, command.summary, command.usage());
    if !command.arguments.is_empty() {
        text.push('\n');
    }
    for argument in command.arguments {
        let name = match argument.form {
            Form::Needed | Form::Optional => argument.placeholder(),
            Form::Option => format!("--{} {}", argument.name, argument.placeholder()),
            Form::Flag => format!("--{}", argument.name),
        };
        text.push_str(&format!("  {name:18}  {}\n", argument.help));
    }
    if !command.details.is_empty() {
        text.push_str(&format!("\n{}\n", wrapped(command.details, 78)));
    }
    if !command.examples.is_empty() {
        text.push_str("\nexamples:\n");
    }
    for (line, why) in command.examples {
        text.push_str(&format!("  {line}\n      {why}\n"));
    }
    text
}

fn wrapped(text: &str, width: usize) -> String {
    let mut lines = String::new();
    let mut column = 0;
    for word in text.split_whitespace() {
        if column > 0 && column + 1 + word.chars().count() > width {
            lines.push('\n');
            column = 0;
        }
        if column > 0 {
            lines.push(' ');
            column += 1;
        }
        lines.push_str(word);
        column += word.chars().count();
    }
    lines
}

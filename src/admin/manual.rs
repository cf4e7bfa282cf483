//! What is written from the table: the manual's page and the shells' completions. The files in the tree are these texts,
//! and a test holds them in step.

use super::command::{Argument, Column, Command, Form, Kind, Shows, Unit};
use super::{COMMANDS, OPTIONS};

/// The words that a completion offers, and where.
fn first_words() -> Vec<&'static str> {
    let mut words: Vec<&str> = COMMANDS.iter().filter_map(|command| command.name.split(' ').next()).collect();
    words.dedup();
    words
}

/// The second words behind a first one.
fn second_words(first: &str) -> Vec<&'static str> {
    let second = |command: &&'static Command| command.name.split_once(' ').filter(|(one, _)| *one == first);
    COMMANDS.iter().filter_map(second).map(|(_, two)| two).collect()
}

/// jabberctl(8).
pub fn page() -> String {
    let mut page = format!(
        ".\\\" Made from the table of commands: make manual.\n.TH JABBERCTL 8 \"2026-11-23\" \"jabber {}\" \"System Administration\"\n",
        env!("CARGO_PKG_VERSION")
    );
    page.push_str(
        ".SH NAME\njabberctl \\- ask the running jabberd, and tell it what to do\n.SH SYNOPSIS\n.B jabberctl\n\
         .RI [ OPTIONS ]\n.I COMMAND\n.RI [ ARGUMENTS ]\n.SH DESCRIPTION\n\
         jabberctl speaks to the server through its control socket,\n.IR /run/jabber/control ,\n\
         which root and the members of the server's group may use (jabber.xml(5),\n.IR control ).\n\
         What it is told is on the disk before it says that it is done.\n\
         Passwords are asked for on the terminal, twice and unseen, or are the first line of standard input; they are never arguments.\n\
         Of a table on a terminal long cells, but for the last of a line, show their beginning; behind a pipe, and in JSON, they are whole.\n\
         What a terminal obeys instead of showing it, and what nobody sees, stands as \\eu{1b}; in JSON as \\eu001b.\n\
         Without a server\n.BR help ,\n.BR version ,\n.BR check ,\n.BR \"user add\" ,\n.BR backup ,\n.B export\nand\n\
         .B import\nwork all the same;\n.B restore\nworks only without.\n.PP\n\
         With a jabber.xml that cannot be read,\n.B backup\nand\n.B export\nask the server that runs where its database is;\n\
         without one, and for\n.BR restore ,\n.B \\-\\-database\nnames it: these need to know nothing else.\n\
         .BR import ,\n.B user add\nwithout a server, and\n.B export\nin the format jabberd14 need the file: \
         which hosts are served, which names are components, and whose files are written is known from it alone.\n\
         .B check\ntells what it can, and what it left out.\n\
         .SH OPTIONS\nThey may stand before or behind the command.\n",
    );
    for option in OPTIONS {
        let names: Vec<String> = option.names.iter().map(|name| format!("\\fB{}\\fR", roff(name))).collect();
        let value = option.value.map(|value| format!(" \\fI{value}\\fR")).unwrap_or_default();
        page.push_str(&format!(".TP\n{}{value}\n{}\n", names.join(", "), roff(&sentence(option.help))));
    }
    page.push_str(".SH COMMANDS\n");
    for command in COMMANDS {
        page.push_str(&describe(command));
    }
    page.push_str(
        ".SH JSON\nWith\n.B \\-\\-json\nstandard output is one value of JSON: an array of objects where people see a table, an object \
         where they see a list of fields, and\n.RI {\"done\":\" sentence \"}\nwhere a command only does something.\n\
         The names of fields stay as they are; new ones may come. What is not known is null. Of times and sizes the unit is \
         told with each command.\n\
         What failed is on standard error, as\n.RI {\"error\":{\"kind\":\" word \",\"text\":\" sentence \",\"remedy\":\" sentence \"}} ;\n\
         an array that had begun stays open then, so that nobody takes it for whole.\n\
         Remarks for people are on standard error, as text.\n\
         .SH EXIT STATUS\n.TP\n.B 0\nDone.\n.TP\n.B 1\nThe server refused it, or it failed; standard error says why and what to do.\n\
         .TP\n.B 2\nThe command line was wrong.\n.TP\n.B 3\nThe server cannot be asked: it does not run, does not answer, or you may not; or jabber.xml, the file of\n.BR \\-c ,\ncannot be read, and the command needs it.\n\
         What the server has not read when jabberctl gives up it will not obey.\n\
         What it has read and not answered it may obey still: the message says so, and in JSON the\n.B kind\nis\n.B unanswered\n\
         in place of\n.BR unreachable .\n\
         What it has begun it does whole, but for the work on a new password\n.RB ( \"user add\" \", \" \"user passwd\" ),\n\
         which ends with jabberctl; its log says so.\n.PP\n\
         .B check\nhas the codes of monitoring: 0 all is well, 1 warnings, 2 something is broken, 3 it could not be found out, which is its code for a wrong command line, too.\n.PP\n\
         A signal ends it as it ends any program; a shell shows 130 for \\(haC.\n\
         Long work ends between two steps, with 1, and at a second \\(haC at once, with 130.\n\
         .SH FILES\n.TP\n.I /run/jabber/control\nThe control socket.\n.TP\n.I /etc/jabber/jabber.xml\n\
         The server's configuration, which may name another socket.\n\
         .TP\n.IR /etc/default/jabber ,\n.I /etc/jabber/jabber.cfg\n\
         What the package starts the server with; it counts for jabberctl as well, unless\n.B \\-c\nnames a configuration.\n\
         .SH SEE ALSO\n.BR jabberd (8),\n.BR jabber.xml (5)\n",
    );
    page
}

fn describe(command: &Command) -> String {
    let mut text = format!(".SS \"{}\"\n", roff(&command.usage()));
    text.push_str(&format!("{}\n", roff(&sentence(command.summary))));
    if !command.details.is_empty() {
        // A line each, as roff's writers do.
        for said in command.details.split_inclusive(". ") {
            text.push_str(&format!("{}\n", roff(said.trim_end())));
        }
    }
    for argument in command.arguments {
        text.push_str(&format!(".TP\n{}\n{}\n", name(argument), roff(&sentence(argument.help))));
    }
    text.push_str(&fields(command.shows));
    for (line, why) in command.examples {
        let colon = if why.ends_with('?') { "" } else { ":" };
        text.push_str(&format!(".PP\n{}{colon}\n.PP\n.RS\n.EX\n{}\n.EE\n.RE\n", roff(&capital(why)), roff(line)));
    }
    text
}

/// What a script finds in the answer, and in which unit, unless that is text or a plain number.
fn fields(shows: Shows) -> String {
    let whole = match shows {
        Shows::Nothing => return String::new(),
        Shows::Table(_) => "Each object",
        Shows::Record(_) => "The object",
    };
    let field = |column: &Column| {
        let unit = match column.unit {
            Unit::Text | Unit::Number | Unit::Link => "",
            Unit::Bytes => " (bytes)",
            Unit::Seconds => " (seconds)",
            Unit::Millis => " (milliseconds)",
            Unit::Moment | Unit::Seen => " (seconds since 1970)",
            Unit::YesNo => " (true or false)",
        };
        format!("{}{unit}", column.key)
    };
    let all: Vec<String> = shows.columns().iter().map(field).collect();
    format!(".PP\n{whole} of \\-\\-json has\n{}.\n", roff(&all.join(", ")))
}

fn name(argument: &Argument) -> String {
    match argument.form {
        Form::Needed | Form::Optional => format!("\\fI{}\\fR", roff(&argument.placeholder())),
        Form::Option => format!("\\fB\\-\\-{}\\fR \\fI{}\\fR", argument.name, roff(&argument.placeholder())),
        Form::Flag => format!("\\fB\\-\\-{}\\fR", argument.name),
    }
}

/// Text as roff takes it.
fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    // A dot or an apostrophe at the beginning of a line is a request.
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn sentence(text: &str) -> String {
    format!("{}.", capital(text))
}

/// What completes a value: for the bash completion.
fn values(kind: Kind) -> Option<String> {
    match kind {
        Kind::Word(words) => Some(format!("COMPREPLY=($(compgen -W '{}' -- \"$cur\"))", words.join(" "))),
        // readline's own: it knows how names are quoted, and puts a slash behind a directory.
        Kind::File => Some("compopt -o default".to_owned()),
        _ => None,
    }
}

fn options(command: &Command) -> Vec<String> {
    let optional = command.arguments.iter().filter(|argument| matches!(argument.form, Form::Option | Form::Flag));
    optional.map(|argument| format!("--{}", argument.name)).collect()
}

fn shared() -> Vec<&'static str> {
    OPTIONS.iter().flat_map(|option| option.names.iter().copied()).filter(|name| name.starts_with("--")).collect()
}

/// The completion for bash.
pub fn bash() -> String {
    let mut seconds = String::new();
    for first in first_words() {
        let words = second_words(first);
        if !words.is_empty() {
            seconds.push_str(&format!("\t\t{first}) words='{}' ;;\n", words.join(" ")));
        }
    }
    let (mut own, mut places, mut valued) = (String::new(), String::new(), String::new());
    let shared_takers = OPTIONS.iter().filter(|option| option.value.is_some()).flat_map(|option| option.names);
    let mut takers: Vec<String> = shared_takers.map(|&name| name.to_owned()).collect();
    for command in COMMANDS {
        let name = command.name;
        let dashed = options(command).join(" ");
        if !dashed.is_empty() {
            own.push_str(&format!("\t\t'{name}') options='{dashed}' ;;\n"));
        }
        let is_place = |argument: &&Argument| matches!(argument.form, Form::Needed | Form::Optional);
        for (place, argument) in command.arguments.iter().filter(is_place).enumerate() {
            if let Some(values) = values(argument.kind) {
                places.push_str(&format!("\t\t'{name}:{place}') {values} ;;\n"));
            }
        }
        for argument in command.arguments.iter().filter(|argument| argument.form == Form::Option) {
            let dashed = format!("--{}", argument.name);
            if let Some(values) = values(argument.kind) {
                valued.push_str(&format!("\t\t'{name} {dashed}') {values} ;;\n"));
            }
            if !takers.contains(&dashed) {
                takers.push(dashed);
            }
        }
    }
    let (takers, first, shared) = (takers.join(" | "), first_words().join(" "), shared().join(" "));
    format!(
        "# Made from the table of commands: make manual.\n\
         _jabberctl() {{\n\
         \tlocal cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD - 1]}} word skip= words= options= name place help=\n\
         \tlocal said=()\n\
         \tCOMPREPLY=()\n\
         \tfor word in \"${{COMP_WORDS[@]:1:COMP_CWORD - 1}}\"; do\n\
         \t\tif [[ $skip ]]; then skip=; continue; fi\n\
         \t\tcase $word in\n\
         \t\t{takers}) skip=1 ;;\n\
         \t\t-*) ;;\n\
         \t\t*) said+=(\"$word\") ;;\n\
         \t\tesac\n\
         \tdone\n\
         \tif [[ ${{said[0]}} == help ]]; then help=help said=(\"${{said[@]:1}}\"); fi\n\
         \tname=${{said[0]}} place=$((${{#said[@]}} - 1))\n\
         \tif [[ ! $name ]]; then\n\
         \t\twords='{first}'\n\
         \telse\n\
         \t\tcase $name in\n{seconds}\t\tesac\n\
         \t\tif [[ $words && ${{said[1]}} ]]; then name+=\" ${{said[1]}}\" place=$((place - 1)) words=; fi\n\
         \tfi\n\
         \tif [[ $skip ]]; then\n\
         \t\t# The value of an option.\n\
         \t\tcase \"${{help:-$name}} $prev\" in\n\
         \t\t*' -c' | *' --config' | *' --socket' | *' --database') compopt -o default ;;\n{valued}\t\tesac\n\
         \telif [[ $cur == -* ]]; then\n\
         \t\tcase ${{help:-$name}} in\n{own}\t\tesac\n\
         \t\tCOMPREPLY=($(compgen -W \"$options {shared}\" -- \"$cur\"))\n\
         \telif [[ $words ]]; then\n\
         \t\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n\
         \telif [[ ! $help ]]; then\n\
         \t\tcase $name:$place in\n{places}\t\tesac\n\
         \tfi\n\
         }}\n\
         complete -F _jabberctl jabberctl\n"
    )
}

/// The completion for zsh.
pub fn zsh() -> String {
    let quoted = |text: &str| text.replace('\'', "'\\''").replace(':', "\\:");
    let mut commands = String::new();
    for first in first_words() {
        let summary = match COMMANDS.iter().find(|command| command.name == first) {
            Some(command) => command.summary.to_owned(),
            None => second_words(first).join(", "),
        };
        commands.push_str(&format!("\t\t'{first}:{}'\n", quoted(&summary)));
    }
    let mut seconds = String::new();
    for first in first_words() {
        let words = second_words(first);
        if words.is_empty() {
            continue;
        }
        seconds.push_str(&format!("\t{first})\n\t\tsecond=(\n"));
        for word in words {
            let name = format!("{first} {word}");
            let summary = super::find(&name).map_or("", |command| command.summary);
            seconds.push_str(&format!("\t\t\t'{word}:{}'\n", quoted(summary)));
        }
        seconds.push_str("\t\t) ;;\n");
    }
    let mut arguments = String::new();
    for command in COMMANDS {
        let mut specs = Vec::new();
        for argument in command.arguments {
            let help = quoted(argument.help).replace(['[', ']'], "");
            let action = match argument.kind {
                Kind::Word(words) => format!("({})", words.join(" ")),
                Kind::File => "_files".to_owned(),
                _ => String::new(),
            };
            specs.push(match argument.form {
                Form::Flag => format!("'--{}[{help}]'", argument.name),
                Form::Option => format!("'--{}[{help}]:{}:{action}'", argument.name, argument.name),
                Form::Needed => format!("':{}:{action}'", argument.name),
                Form::Optional => format!("'::{}:{action}'", argument.name),
            });
        }
        if !specs.is_empty() {
            arguments.push_str(&format!("\t'{}') _arguments {} ;;\n", command.name, specs.join(" ")));
        }
    }
    format!(
        "#compdef jabberctl\n\
         # Made from the table of commands: make manual.\n\
         _jabberctl() {{\n\
         \tlocal context state line curcontext=$curcontext\n\
         \tlocal -a first second\n\
         \tfirst=(\n{commands}\t)\n\
         \t_arguments -C '--json[print JSON]' '(-y --yes)'{{-y,--yes}}'[do not ask]' '(-c --config)'{{-c,--config}}'[jabber.xml]:file:_files' \\\n\
         \t\t'--socket[control socket]:file:_files' '--database[database]:file:_files' '--timeout[seconds of patience]:seconds:' '(-h --help)'{{-h,--help}}'[help]' '(-V --version)'{{-V,--version}}'[version]' \\\n\
         \t\t'1:command:->first' '*::argument:->rest'\n\
         \tcase $state in\n\
         \tfirst) _describe command first; return ;;\n\
         \tesac\n\
         \tlocal name=$words[1] help=\n\
         \tif [[ $name == help && $words[2] != -* ]]; then\n\
         \t\tif (( CURRENT == 2 )); then _describe command first; return; fi\n\
         \t\tshift words\n\
         \t\t(( CURRENT-- ))\n\
         \t\thelp=yes name=$words[1]\n\
         \tfi\n\
         \tcase $name in\n{seconds}\tesac\n\
         \tif (( $#second )); then\n\
         \t\tif (( CURRENT == 2 )); then _describe command second; return; fi\n\
         \t\tname=\"$name $words[2]\"\n\
         \t\tshift words\n\
         \t\t(( CURRENT-- ))\n\
         \tfi\n\
         \t[[ -z $help ]] || return\n\
         \tcase $name in\n{arguments}\tesac\n\
         }}\n\
         _jabberctl \"$@\"\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_in_the_tree_are_made_from_the_table() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        for (file, text) in
            [("man/jabberctl.8", page()), ("init/completion/jabberctl", bash()), ("init/completion/_jabberctl", zsh())]
        {
            let found = std::fs::read_to_string(root.join(file)).unwrap_or_default();
            assert!(found == text, "{file} is not what the table of commands says: make manual");
        }
    }

    #[test]
    fn every_command_is_explained() {
        for command in COMMANDS {
            assert!(!command.summary.is_empty() && !command.summary.ends_with('.'), "{}", command.name);
            assert!(!command.examples.is_empty(), "{} has no example", command.name);
            for (line, _) in command.examples {
                assert!(line.contains("jabberctl") && line.contains(command.name), "{}: {line}", command.name);
            }
            let twice = COMMANDS.iter().filter(|other| other.name == command.name).count();
            assert_eq!(twice, 1, "{} stands in the table twice", command.name);
            let mut optional = false;
            for argument in command.arguments {
                match argument.form {
                    Form::Needed => {
                        assert!(!optional, "{}: {} stands behind an optional one", command.name, argument.name)
                    }
                    Form::Optional => optional = true,
                    Form::Option | Form::Flag => {}
                }
            }
        }
    }
}

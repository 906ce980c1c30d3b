//! A task's command with its image's configuration.
//!
//! For type MESOS, as Mesos' docker/runtime isolator does it (E: entrypoint, C: cmd of the image):
//!
//! | shell, value, arguments | neither | C | E | E and C |
//! | --- | --- | --- | --- | --- |
//! | false, none, none | error | C | E | E C |
//! | false, none, some | error | C[0] arguments | E arguments | E arguments |
//! | false, some, any | value, arguments (the first is argv[0]) | same | same | same |
//! | true, some, ignored | /bin/sh -c value | same | same | same |
//! | true, none | error | error | error | error |
//!
//! For type DOCKER, as `docker run` does it: a shell's command replaces the entrypoint; otherwise value and arguments follow the entrypoint,
//! and take the place of cmd.

use tepui_images::ImageConfig;
use tepui_proto::mesos::v1::CommandInfo;

use crate::containerizer::Command;

fn value(command: &CommandInfo) -> Option<&str> {
    command.value.as_deref().filter(|value| !value.is_empty())
}

fn exec(mut words: Vec<String>) -> Command {
    let executable = words.first().cloned().unwrap_or_default();
    if words.len() == 1 {
        words.clear();
    }
    Command::Exec {
        executable,
        arguments: words,
    }
}

const NOTHING: &str =
    "there is nothing to run: neither the command's 'value' nor an entrypoint or cmd of the image";

/// What runs in a container of type MESOS.
pub(crate) fn of_mesos(command: &CommandInfo, image: &ImageConfig) -> Result<Command, String> {
    match (command.shell(), value(command)) {
        (true, Some(text)) => Ok(Command::Shell(text.to_owned())),
        (true, None) => Err("the command is of 'shell' and has no 'value'".to_owned()),
        (false, Some(executable)) => Ok(Command::Exec {
            executable: executable.to_owned(),
            arguments: command.arguments.clone(),
        }),
        (false, None) => {
            let rest = if command.arguments.is_empty() {
                &image.cmd
            } else {
                &command.arguments
            };
            let mut words = image.entrypoint.clone();
            if words.is_empty() {
                // Without an entrypoint the image's cmd names the program.
                match (image.cmd.first(), command.arguments.is_empty()) {
                    (None, _) => return Err(NOTHING.to_owned()),
                    (Some(_), true) => {}
                    (Some(program), false) => words.push(program.clone()),
                }
            }
            words.extend_from_slice(rest);
            Ok(exec(words))
        }
    }
}

/// What runs in a container of type DOCKER. `entrypoint` replaces the image's.
pub(crate) fn of_docker(
    command: &CommandInfo,
    image: &ImageConfig,
    entrypoint: Option<&str>,
) -> Result<Command, String> {
    if command.shell() {
        return value(command)
            .map(|text| Command::Shell(text.to_owned()))
            .ok_or_else(|| "the command is of 'shell' and has no 'value'".to_owned());
    }
    let given: Vec<String> = value(command)
        .map(str::to_owned)
        .into_iter()
        .chain(command.arguments.iter().cloned())
        .collect();
    let mut words = match entrypoint {
        Some(entrypoint) => vec![entrypoint.to_owned()],
        None => image.entrypoint.clone(),
    };
    // Whoever replaces the entrypoint does not want the arguments that were meant for the other.
    if given.is_empty() && entrypoint.is_none() {
        words.extend_from_slice(&image.cmd);
    } else {
        words.extend(given);
    }
    if words.is_empty() {
        return Err(NOTHING.to_owned());
    }
    Ok(exec(words))
}

/// The image's variables, as pairs.
pub(crate) fn variables(image: &ImageConfig) -> impl Iterator<Item = (String, String)> {
    image.env.iter().filter_map(|text| {
        let (name, value) = text.split_once('=')?;
        (!name.is_empty()).then(|| (name.to_owned(), value.to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(entrypoint: &[&str], cmd: &[&str]) -> ImageConfig {
        let all = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        ImageConfig {
            entrypoint: all(entrypoint),
            cmd: all(cmd),
            ..ImageConfig::default()
        }
    }

    fn command(shell: bool, value: Option<&str>, arguments: &[&str]) -> CommandInfo {
        CommandInfo {
            shell: Some(shell),
            value: value.map(str::to_owned),
            arguments: arguments.iter().map(|word| (*word).to_owned()).collect(),
            ..Default::default()
        }
    }

    /// The command as words, a shell's text behind `$`.
    fn words(command: Result<Command, String>) -> String {
        match command {
            Ok(Command::Shell(text)) => format!("$ {text}"),
            Ok(Command::Exec {
                executable,
                arguments,
            }) if arguments.is_empty() => executable,
            Ok(Command::Exec {
                executable,
                arguments,
            }) => format!("{executable}: {}", arguments.join(" ")),
            Ok(Command::Hold) => "nothing".to_owned(),
            Err(_) => "error".to_owned(),
        }
    }

    #[test]
    fn commands_are_merged_as_mesos_does_it() {
        let images = [
            image(&[], &[]),
            image(&[], &["c", "d"]),
            image(&["e", "f"], &[]),
            image(&["e", "f"], &["c", "d"]),
        ];
        for (given, expected) in [
            (
                command(false, None, &[]),
                ["error", "c: c d", "e: e f", "e: e f c d"],
            ),
            (
                command(false, None, &["a"]),
                ["error", "c: c a", "e: e f a", "e: e f a"],
            ),
            (command(false, Some("v"), &[]), ["v"; 4]),
            (command(false, Some("v"), &["v0", "a"]), ["v: v0 a"; 4]),
            (command(true, Some("v x"), &["a"]), ["$ v x"; 4]),
            (command(true, None, &["a"]), ["error"; 4]),
        ] {
            let merged = images
                .each_ref()
                .map(|image| words(of_mesos(&given, image)));
            assert_eq!(merged, expected, "{given:?}");
        }
    }

    #[test]
    fn commands_are_merged_as_docker_does_it() {
        let images = [image(&[], &["c"]), image(&["e"], &["c"])];
        for (given, entrypoint, expected) in [
            (command(false, None, &[]), None, ["c", "e: e c"]),
            (
                command(false, None, &["a", "b"]),
                None,
                ["a: a b", "e: e a b"],
            ),
            (
                command(false, Some("v"), &["a"]),
                None,
                ["v: v a", "e: e v a"],
            ),
            (command(true, Some("v"), &[]), None, ["$ v", "$ v"]),
            (command(false, None, &[]), Some("n"), ["n", "n"]),
            (
                command(false, None, &["a"]),
                Some("n"),
                ["n: n a", "n: n a"],
            ),
        ] {
            let merged = images
                .each_ref()
                .map(|image| words(of_docker(&given, image, entrypoint)));
            assert_eq!(merged, expected, "{given:?}");
        }
        assert!(of_docker(&command(false, None, &[]), &image(&[], &[]), None).is_err());
    }

    #[test]
    fn an_images_variables_are_pairs() {
        let image = ImageConfig {
            env: ["A=b=c", "EMPTY=", "bare", "=x"]
                .map(str::to_owned)
                .to_vec(),
            ..ImageConfig::default()
        };
        let read: Vec<_> = variables(&image).collect();
        assert_eq!(
            read,
            [("A".into(), "b=c".into()), ("EMPTY".into(), String::new())]
        );
    }
}

//! From a policy to classic BPF.
//!
//! A program looks at the architecture first, then finds the number of the call by halving: what is decided alike for neighbouring numbers
//! is one range, so that some 400 calls become a tree seven or eight comparisons deep. Only calls that depend on their arguments have more.

use nix::libc;

use super::policy::{Action, Architecture, Condition, Operator, Policy, Rule, Table};
use super::{Filter, MAX_INSTRUCTIONS};

// Codes of classic BPF.
const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const IF_EQUAL: u16 = 0x15;
const IF_GREATER: u16 = 0x25;
const IF_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

// Where things are in `seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// Calls of x32 have this bit in their numbers. Kernels are built without them; so do filters have it.
const X32: u32 = 0x4000_0000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Instruction {
    code: u16,
    if_true: u8,
    if_false: u8,
    constant: u32,
}

fn plain(code: u16, constant: u32) -> Instruction {
    Instruction {
        code,
        if_true: 0,
        if_false: 0,
        constant,
    }
}

/// The next instruction counts if it holds, the one after that if not.
fn unless_skip(code: u16, constant: u32) -> Instruction {
    Instruction {
        code,
        if_true: 0,
        if_false: 1,
        constant,
    }
}

fn ends(action: Action) -> Instruction {
    plain(RETURN, action.value())
}

/// Forwards over so many instructions.
fn over(code: &[Instruction]) -> Instruction {
    plain(JUMP, code.len() as u32)
}

/// Where to go on within a rule.
#[derive(Clone, Copy, PartialEq, Eq)]
enum To {
    Next,
    /// The condition holds.
    Holds,
    /// It does not, nor does the rule.
    Fails,
}

/// A step of a condition.
enum Step {
    Do(Instruction),
    Ask(u16, u32, To, To),
}

/// The low and the high half of an argument, on a processor that has the low one first.
fn halves(argument: u8) -> (u32, u32) {
    let low = ARGUMENTS + 8 * u32::from(argument);
    (low, low + 4)
}

fn condition(condition: &Condition) -> Vec<Step> {
    use To::{Fails, Holds, Next};
    let (low_at, high_at) = halves(condition.argument);
    let (low, high) = (condition.value as u32, (condition.value >> 32) as u32);
    let load = |at| Step::Do(plain(LOAD, at));
    // Greater in the high half decides; equal there leaves it to the low half.
    let order = |code, yes: To, no: To| {
        vec![
            load(high_at),
            Step::Ask(IF_GREATER, high, yes, Next),
            Step::Ask(IF_EQUAL, high, Next, no),
            load(low_at),
            Step::Ask(code, low, yes, no),
        ]
    };
    match condition.operator {
        Operator::Equal => vec![
            load(high_at),
            Step::Ask(IF_EQUAL, high, Next, Fails),
            load(low_at),
            Step::Ask(IF_EQUAL, low, Holds, Fails),
        ],
        Operator::NotEqual => vec![
            load(high_at),
            Step::Ask(IF_EQUAL, high, Next, Holds),
            load(low_at),
            Step::Ask(IF_EQUAL, low, Fails, Holds),
        ],
        Operator::Greater => order(IF_GREATER, Holds, Fails),
        Operator::GreaterOrEqual => order(IF_AT_LEAST, Holds, Fails),
        Operator::Less => order(IF_AT_LEAST, Fails, Holds),
        Operator::LessOrEqual => order(IF_GREATER, Fails, Holds),
        Operator::MaskedEqual(mask) => vec![
            load(high_at),
            Step::Do(plain(AND, (mask >> 32) as u32)),
            Step::Ask(IF_EQUAL, high, Next, Fails),
            load(low_at),
            Step::Do(plain(AND, mask as u32)),
            Step::Ask(IF_EQUAL, low, Holds, Fails),
        ],
    }
}

/// A rule that ends the program if it holds, and falls through if not. At most six conditions of at most six steps: every jump is short.
fn rule(rule: &Rule) -> Vec<Instruction> {
    let conditions: Vec<Vec<Step>> = rule.conditions.iter().map(condition).collect();
    let mut left: usize = conditions.iter().map(Vec::len).sum();
    let mut code = Vec::with_capacity(left + 1);
    for steps in conditions {
        let mut here = steps.len();
        for step in steps {
            (here, left) = (here - 1, left - 1);
            // Behind the return is the next rule.
            let target = |to| match to {
                To::Next => 0,
                To::Holds => here as u8,
                To::Fails => left as u8 + 1,
            };
            code.push(match step {
                Step::Do(instruction) => instruction,
                Step::Ask(code, constant, yes, no) => Instruction {
                    code,
                    if_true: target(yes),
                    if_false: target(no),
                    constant,
                },
            });
        }
    }
    code.push(ends(rule.action));
    code
}

/// What is decided for a range of numbers.
#[derive(Clone, PartialEq)]
enum Decision<'a> {
    Always(Action),
    By(&'a [Rule]),
}

/// Ranges by their first numbers, in order, from 0 on.
fn ranges<'a>(table: &'a Table, otherwise: Action) -> Vec<(u32, Decision<'a>)> {
    let mut ranges: Vec<(u32, Decision<'a>)> = vec![(0, Decision::Always(otherwise))];
    let mut push = |from: u32, decision: Decision<'a>| match ranges.last_mut() {
        Some((begins, last)) if *begins == from => *last = decision,
        Some((_, last)) if *last == decision => {}
        _ => ranges.push((from, decision)),
    };
    for (number, rules) in &table.rules {
        let decision = match rules.as_slice() {
            [] => Decision::Always(otherwise),
            [first, ..] if first.conditions.is_empty() => Decision::Always(first.action),
            rules => Decision::By(rules),
        };
        push(*number, decision);
        push(number + 1, Decision::Always(otherwise));
    }
    ranges
}

fn tree(ranges: &[(u32, Decision<'_>)], otherwise: Action) -> Vec<Instruction> {
    match ranges {
        [] => vec![ends(otherwise)],
        [(_, Decision::Always(action))] => vec![ends(*action)],
        [(_, Decision::By(rules))] => {
            let mut code: Vec<_> = rules.iter().flat_map(rule).collect();
            code.push(ends(otherwise));
            code
        }
        _ => {
            let (lower, upper) = ranges.split_at(ranges.len() / 2);
            let lower = tree(lower, otherwise);
            let mut code = vec![unless_skip(IF_AT_LEAST, upper[0].0), over(&lower)];
            code.extend(lower);
            code.extend(tree(upper, otherwise));
            code
        }
    }
}

fn table(table: &Table, otherwise: Action) -> Vec<Instruction> {
    let mut code = vec![plain(LOAD, NUMBER)];
    if table.architecture == Architecture::X86_64 {
        code.push(unless_skip(IF_AT_LEAST, X32));
        code.push(ends(Action::Errno(libc::ENOSYS as u16)));
    }
    code.extend(tree(&merged(ranges(table, otherwise)), otherwise));
    code
}

/// Neighbours that are decided alike become one: what follows a call may have begun and ended at the same number.
fn merged(ranges: Vec<(u32, Decision<'_>)>) -> Vec<(u32, Decision<'_>)> {
    let mut merged: Vec<(u32, Decision<'_>)> = Vec::with_capacity(ranges.len());
    for (from, decision) in ranges {
        let as_before = matches!((merged.last(), &decision), (Some((_, Decision::Always(last))), Decision::Always(this)) if last == this);
        if !as_before {
            merged.push((from, decision));
        }
    }
    merged
}

/// The program of a policy.
pub(super) fn compile(policy: &Policy) -> Result<Filter, String> {
    let code = program(policy);
    if code.len() > MAX_INSTRUCTIONS {
        return Err(format!(
            "it makes a program of {} instructions; the kernel takes {MAX_INSTRUCTIONS}",
            code.len()
        ));
    }
    let bytes = |instruction: &Instruction| {
        let [code_low, code_high] = instruction.code.to_ne_bytes();
        let [a, b, c, d] = instruction.constant.to_ne_bytes();
        let (yes, no) = (instruction.if_true, instruction.if_false);
        [code_low, code_high, yes, no, a, b, c, d]
    };
    Ok(Filter(code.iter().flat_map(bytes).collect()))
}

fn program(policy: &Policy) -> Vec<Instruction> {
    let mut code = vec![plain(LOAD, ARCHITECTURE)];
    for of_architecture in &policy.tables {
        let block = table(of_architecture, policy.otherwise);
        // Past the jump that leads past the block.
        code.push(Instruction {
            code: IF_EQUAL,
            if_true: 1,
            if_false: 0,
            constant: of_architecture.architecture.audit(),
        });
        code.push(over(&block));
        code.extend(block);
    }
    code.push(ends(Action::KillProcess));
    code
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// What the kernel would do: `arguments` of a call, and the action's value.
    fn run(code: &[Instruction], audit: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let mut data = [number, audit, 0, 0].to_vec();
        for argument in arguments {
            data.extend([argument as u32, (argument >> 32) as u32]);
        }
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let step = code[at];
            at += 1;
            let asked = match step.code {
                LOAD => {
                    accumulator = data[step.constant as usize / 4];
                    continue;
                }
                AND => {
                    accumulator &= step.constant;
                    continue;
                }
                JUMP => {
                    at += step.constant as usize;
                    continue;
                }
                RETURN => return step.constant,
                IF_EQUAL => accumulator == step.constant,
                IF_GREATER => accumulator > step.constant,
                IF_AT_LEAST => accumulator >= step.constant,
                other => panic!("no instruction: {other:#x}"),
            };
            at += usize::from(if asked { step.if_true } else { step.if_false });
        }
    }

    fn holds(condition: &Condition, arguments: [u64; 6]) -> bool {
        let (argument, value) = (arguments[usize::from(condition.argument)], condition.value);
        match condition.operator {
            Operator::Equal => argument == value,
            Operator::NotEqual => argument != value,
            Operator::Less => argument < value,
            Operator::LessOrEqual => argument <= value,
            Operator::Greater => argument > value,
            Operator::GreaterOrEqual => argument >= value,
            Operator::MaskedEqual(mask) => argument & mask == value,
        }
    }

    /// The same, by the meaning of a policy.
    fn decide(policy: &Policy, audit: u32, number: u32, arguments: [u64; 6]) -> Action {
        let Some(table) = policy
            .tables
            .iter()
            .find(|table| table.architecture.audit() == audit)
        else {
            return Action::KillProcess;
        };
        if table.architecture == Architecture::X86_64 && number >= X32 {
            return Action::Errno(38);
        }
        let rules = table.rules.get(&number).map(Vec::as_slice);
        rules
            .unwrap_or_default()
            .iter()
            .find(|rule| rule.conditions.iter().all(|one| holds(one, arguments)))
            .map_or(policy.otherwise, |rule| rule.action)
    }

    const EDGES: [u64; 9] = [
        0,
        1,
        2,
        0xffff_ffff,
        1 << 32,
        (1 << 32) + 1,
        (2 << 32) + 1,
        u64::MAX - 1,
        u64::MAX,
    ];

    #[test]
    fn every_comparison_is_one_of_64_bits() {
        let mut operators = vec![
            Operator::Equal,
            Operator::NotEqual,
            Operator::Less,
            Operator::LessOrEqual,
            Operator::Greater,
            Operator::GreaterOrEqual,
        ];
        operators.extend(EDGES.map(Operator::MaskedEqual));
        for operator in operators {
            for value in EDGES {
                let first = Condition {
                    argument: 5,
                    operator,
                    value,
                };
                let second = Condition {
                    argument: 0,
                    operator: Operator::NotEqual,
                    value: 7,
                };
                let rule = Rule {
                    conditions: vec![first, second],
                    action: Action::Errno(1),
                };
                let last = Rule {
                    conditions: vec![second],
                    action: Action::Log,
                };
                let policy = Policy {
                    otherwise: Action::Allow,
                    tables: vec![Table {
                        architecture: Architecture::X86_64,
                        rules: BTreeMap::from([(4, vec![rule, last])]),
                    }],
                };
                let code = program(&policy);
                let audit = Architecture::X86_64.audit();
                for argument in EDGES {
                    for other in [7, 8] {
                        let arguments = [other, 0, 0, 0, 0, argument];
                        assert_eq!(
                            run(&code, audit, 4, arguments),
                            decide(&policy, audit, 4, arguments).value(),
                            "{argument:#x} {operator:?} {value:#x}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn numbers_are_found_in_any_table() {
        let always = |action| Rule {
            conditions: Vec::new(),
            action,
        };
        let table = |architecture, numbers: &[(u32, Action)]| Table {
            architecture,
            rules: numbers
                .iter()
                .map(|(number, action)| (*number, vec![always(*action)]))
                .collect(),
        };
        let mixed: Vec<_> = (0..200)
            .map(|number| (number * number % 509, Action::Errno(number as u16 % 5)))
            .collect();
        let policy = Policy {
            otherwise: Action::Trap,
            tables: vec![
                table(Architecture::X86_64, &mixed),
                table(
                    Architecture::X86,
                    &[
                        (0, Action::Allow),
                        (1, Action::Allow),
                        (2, Action::KillThread),
                    ],
                ),
                table(Architecture::Arm, &[]),
            ],
        };
        let code = program(&policy);
        for architecture in Architecture::ALL {
            let audit = architecture.audit();
            for number in (0..600).chain([X32 - 1, X32, X32 + 1, u32::MAX]) {
                assert_eq!(
                    run(&code, audit, number, [0; 6]),
                    decide(&policy, audit, number, [0; 6]).value(),
                    "{architecture:?} {number}"
                );
            }
        }
        // Neighbours that are decided alike are one range.
        let alike: Vec<_> = (0..400).map(|number| (number, Action::Allow)).collect();
        let one = Policy {
            otherwise: Action::Trap,
            tables: vec![table(Architecture::X86_64, &alike)],
        };
        assert!(program(&one).len() < 12, "{}", program(&one).len());
    }
}

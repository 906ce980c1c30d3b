//! A framework that runs N tasks and ends when all have finished:
//! `cargo run -p tepui-sdk --example hello -- 127.0.0.1:5050 10 'echo hello'`

use tepui_sdk::{Event, Framework, Resources, Task, TaskState};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let master = arguments
        .next()
        .unwrap_or_else(|| "127.0.0.1:5050".to_owned());
    let count: usize = arguments.next().map_or(Ok(3), |count| count.parse())?;
    let command = arguments.next().unwrap_or_else(|| "echo hello".to_owned());
    let each: Resources = "cpus:0.1;mem:32".parse()?;

    let mut wanted: Vec<String> = (0..count).rev().map(|n| format!("hello-{n}")).collect();
    let mut finished = 0;
    let mut framework = Framework::builder("hello").connect(&master).await?;
    let driver = framework.driver();
    while let Some(event) = framework.next().await? {
        match event {
            Event::Subscribed(subscribed) => println!("subscribed as {}", subscribed.framework_id),
            Event::Offers(offers) => {
                for mut offer in offers {
                    while let Some(resources) = wanted.last().and_then(|_| offer.take(&each)) {
                        let Some(id) = wanted.pop() else { break };
                        println!("{id} goes to {}", offer.hostname());
                        offer.launch(Task::command(id, &command)?.resources(resources));
                    }
                }
                if wanted.is_empty() {
                    driver.suppress()?; // nothing more to launch: others may have the resources
                }
            }
            Event::Update(update) => {
                println!(
                    "{} {} {}",
                    update.task_id(),
                    update.state(),
                    update.message()
                );
                match update.state() {
                    TaskState::Finished => finished += 1,
                    state if state.is_terminal() => {
                        wanted.push(format!("{}-again", update.task_id()));
                        driver.revive()?;
                    }
                    _ => {}
                }
                if finished == count {
                    driver.teardown()?;
                }
            }
            _ => {}
        }
    }
    println!("{finished} tasks have finished");
    Ok(())
}

// An unmodified mesos-go scheduler and executor that go through what frameworks do.
//
// usage: scenarios MASTER SCENARIO json|protobuf
//
//	scenarios: tasks, executor, groups, custom-group, volumes, reconciliation, failover
//
// Prints "SCENARIO done" and exits with 0; says what went wrong and exits with 1 otherwise. Started by an agent (MESOS_AGENT_ENDPOINT is set) it
// is the executor of its own scenarios.
package main

import (
	"fmt"
	"os"
)

func main() {
	if os.Getenv("MESOS_AGENT_ENDPOINT") != "" {
		if err := execute(); err != nil {
			fail("the executor: %v", err)
		}
		return
	}
	if len(os.Args) != 4 {
		fail("usage: %s MASTER SCENARIO json|protobuf", os.Args[0])
	}
	scenario, known := map[string]func(master, media string){
		"tasks":          tasks,
		"executor":       customExecutor,
		"groups":         groups,
		"custom-group":   customGroup,
		"volumes":        volumes,
		"reconciliation": reconciliation,
		"failover":       failover,
	}[os.Args[2]]
	if !known {
		fail("unknown scenario %s", os.Args[2])
	}
	scenario(os.Args[1], os.Args[3])
	fmt.Printf("%s done\n", os.Args[2])
}

func fail(format string, arguments ...interface{}) {
	fmt.Fprintf(os.Stderr, format+"\n", arguments...)
	os.Exit(1)
}

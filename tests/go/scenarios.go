package main

import (
	"fmt"
	"os"

	"github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/resources"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler/calls"
)

func text(s string) *string { return &s }

// some is a little of everything a task or an executor needs.
func some(cpus, mem float64) []mesos.Resource {
	return []mesos.Resource{resources.NewCPUs(cpus).Resource, resources.NewMemory(mem).Resource}
}

func task(name string, agent mesos.AgentID, uses []mesos.Resource) mesos.TaskInfo {
	return mesos.TaskInfo{Name: name, TaskID: mesos.TaskID{Value: name}, AgentID: agent, Resources: uses}
}

func command(name string, agent mesos.AgentID, line string, uses []mesos.Resource) mesos.TaskInfo {
	info := task(name, agent, uses)
	info.Command = &mesos.CommandInfo{Value: text(line)}
	return info
}

// own is this program as an executor.
func (f *framework) own() mesos.ExecutorInfo {
	program, err := os.Executable()
	check(err)
	id := f.frameworkID()
	return mesos.ExecutorInfo{
		Type:        mesos.ExecutorInfo_CUSTOM,
		ExecutorID:  mesos.ExecutorID{Value: "own"},
		FrameworkID: &id,
		Name:        text("mesos-go executor"),
		Command:     &mesos.CommandInfo{Value: text("exec " + program)},
		Resources:   append(some(0.1, 64), resources.NewDisk(16).Resource),
	}
}

// tasks: fifty commands.
func tasks(master, media string) {
	f := newFramework(master, media, "")
	left := 50
	var names []string
	for left > 0 {
		agent := f.untilOffered(func(from mesos.Resources) bool {
			return amount(from, resources.NameCPUs, false) >= 0.1 && amount(from, resources.NameMem, false) >= 16
		})
		all := f.resources()
		room := int(amount(all, resources.NameCPUs, false)/0.1 + 1e-6)
		if byMem := int(amount(all, resources.NameMem, false) / 16); byMem < room {
			room = byMem
		}
		if room > left {
			room = left
		}
		var launched []mesos.TaskInfo
		for ; room > 0; room-- {
			name := fmt.Sprintf("task-%d", left)
			launched = append(launched, command(name, agent, "true", some(0.1, 16)))
			names = append(names, name)
			left--
		}
		f.accept(calls.OpLaunch(launched...))
	}
	f.finished(names...)
	f.teardown()
}

// customExecutor: tasks on an executor of the framework's own, and a message to it and back.
func customExecutor(master, media string) {
	f := newFramework(master, media, "")
	agent := f.untilOffered(roomy)
	own := f.own()
	var launched []mesos.TaskInfo
	var names []string
	for n := 0; n < 5; n++ {
		info := task(fmt.Sprintf("task-%d", n), agent, some(0.1, 16))
		info.Executor = &own
		launched = append(launched, info)
		names = append(names, info.Name)
	}
	f.accept(calls.OpLaunch(launched...))
	f.finished(names...)
	f.call(calls.Message(agent.Value, own.ExecutorID.Value, []byte("\x00echo\xff")))
	if message := f.next(scheduler.Event_MESSAGE).Message; string(message.Data) != "\x00echo\xff" || message.ExecutorID != own.ExecutorID {
		fail("another message came back: %v", message)
	}
	f.call(calls.Shutdown(own.ExecutorID.Value, agent.Value))
	if failure := f.next(scheduler.Event_FAILURE).Failure; failure.ExecutorID == nil || *failure.ExecutorID != own.ExecutorID {
		fail("something else has failed: %v", failure)
	}
	f.teardown()
}

// groups: on the default executor all of a group finish; one that fails takes its group with it, and no other.
func groups(master, media string) {
	f := newFramework(master, media, "")
	agent := f.untilOffered(roomy)
	builtIn := func(id string) mesos.ExecutorInfo {
		framework := f.frameworkID()
		return mesos.ExecutorInfo{
			Type:        mesos.ExecutorInfo_DEFAULT,
			ExecutorID:  mesos.ExecutorID{Value: id},
			FrameworkID: &framework,
			Resources:   append(some(0.1, 32), resources.NewDisk(16).Resource),
		}
	}
	f.accept(
		calls.OpLaunchGroup(builtIn("first"),
			command("a1", agent, "true", some(0.1, 32)), command("a2", agent, "sleep 0.1", some(0.1, 32))),
		calls.OpLaunchGroup(builtIn("second"),
			command("b1", agent, "exit 3", some(0.1, 32)), command("b2", agent, "exec sleep 1000", some(0.1, 32))),
	)
	f.ends(map[string]mesos.TaskState{
		"a1": mesos.TASK_FINISHED, "a2": mesos.TASK_FINISHED, "b1": mesos.TASK_FAILED, "b2": mesos.TASK_KILLED,
	})
	f.teardown()
}

// customGroup: a group on an executor of the framework's own, which gets it in one piece.
func customGroup(master, media string) {
	f := newFramework(master, media, "")
	agent := f.untilOffered(roomy)
	f.accept(calls.OpLaunchGroup(f.own(), task("c1", agent, some(0.1, 16)), task("c2", agent, some(0.1, 16))))
	f.finished("c1", "c2")
	f.teardown()
}

func reserved(from mesos.Resource) mesos.Resource {
	from.Reservations = []mesos.Resource_ReservationInfo{{Type: mesos.Resource_ReservationInfo_DYNAMIC.Enum(), Role: text(role)}}
	return from
}

// volumes: reserve, create a volume and use it in one call; use it again; give everything back.
func volumes(master, media string) {
	f := newFramework(master, media, "")
	agent := f.untilOffered(roomy)
	before := f.resources()
	cpus, mem := reserved(resources.NewCPUs(0.5).Resource), reserved(resources.NewMemory(64).Resource)
	disk := reserved(resources.NewDisk(32).Resource)
	volume := disk
	volume.Disk = &mesos.Resource_DiskInfo{
		Persistence: &mesos.Resource_DiskInfo_Persistence{ID: "vol"},
		Volume:      &mesos.Volume{ContainerPath: "data", Mode: mesos.RW.Enum()},
	}
	used := []mesos.Resource{cpus, mem, volume}
	f.accept(
		calls.OpReserve(cpus, mem, disk),
		calls.OpCreate(volume),
		calls.OpLaunch(command("write", agent, "echo kept > data/file", used)),
	)
	f.finished("write")
	back := func(from mesos.Resources) bool {
		there := false
		for i := range from {
			there = there || from[i].IsPersistentVolume()
		}
		return there && amount(from, resources.NameCPUs, true) >= 0.5 && amount(from, resources.NameMem, true) >= 64
	}
	f.untilOffered(back)
	f.accept(calls.OpLaunch(command("read", agent, `test "$(cat data/file)" = kept`, used)))
	f.finished("read")
	f.untilOffered(back)
	f.accept(calls.OpDestroy(volume), calls.OpUnreserve(cpus, mem, disk))
	f.untilOffered(func(from mesos.Resources) bool {
		for _, name := range []resources.Name{resources.NameCPUs, resources.NameMem, resources.NameDisk} {
			if amount(from, name, false) != amount(before, name, false) {
				return false
			}
		}
		return true
	})
	for _, resource := range f.resources() {
		if len(resource.Reservations) > 0 || resource.Disk != nil {
			fail("not everything was given back: %v", resource)
		}
	}
	f.teardown()
}

// reconciled waits for an answer of the master about a task.
func (f *framework) reconciled(task string, state mesos.TaskState) {
	status := f.untilStatus(func(status mesos.TaskStatus) bool {
		return status.TaskID.Value == task && status.GetReason() == mesos.REASON_RECONCILIATION
	})
	if status.GetState() != state || status.GetSource() != mesos.SOURCE_MASTER || len(status.UUID) > 0 {
		fail("%s is told as %v instead of %v", task, status, state)
	}
}

func (f *framework) untilRunning(task string) {
	f.untilStatus(func(status mesos.TaskStatus) bool {
		return status.TaskID.Value == task && status.GetState() == mesos.TASK_RUNNING
	})
}

// reconciliation: explicit and implicit; what is known, and what is not.
func reconciliation(master, media string) {
	f := newFramework(master, media, "")
	agent := f.untilOffered(roomy)
	f.accept(calls.OpLaunch(command("long", agent, "exec sleep 1000", some(0.1, 32))))
	f.untilRunning("long")
	ask := func(tasks map[string]string) { f.call(calls.Reconcile(calls.ReconcileTasks(tasks))) }
	ask(map[string]string{"long": agent.Value})
	f.reconciled("long", mesos.TASK_RUNNING)
	ask(map[string]string{"never": agent.Value})
	f.reconciled("never", mesos.TASK_GONE)
	ask(map[string]string{"never": ""})
	f.reconciled("never", mesos.TASK_UNKNOWN)
	ask(nil)
	f.reconciled("long", mesos.TASK_RUNNING)
	f.call(calls.Kill("long", agent.Value))
	f.ends(map[string]mesos.TaskState{"long": mesos.TASK_KILLED})
	f.teardown()
}

// failover: a second scheduler takes the first one's place, and finds its task.
func failover(master, media string) {
	first := newFramework(master, media, "")
	agent := first.untilOffered(roomy)
	first.accept(calls.OpLaunch(command("survivor", agent, "exec sleep 1000", some(0.1, 32))))
	first.untilRunning("survivor")
	id := first.frameworkID()
	first.stop()
	second := newFramework(master, media, id.Value)
	if second.frameworkID() != id {
		fail("another id was given: %v", second.frameworkID())
	}
	second.call(calls.Reconcile(calls.ReconcileTasks(nil)))
	second.reconciled("survivor", mesos.TASK_RUNNING)
	second.untilOffered(func(from mesos.Resources) bool { return amount(from, resources.NameCPUs, false) >= 3.9 })
	second.call(calls.Kill("survivor", agent.Value))
	second.ends(map[string]mesos.TaskState{"survivor": mesos.TASK_KILLED})
	second.teardown()
}

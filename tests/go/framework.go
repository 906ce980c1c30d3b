package main

import (
	"context"
	"math"
	"sync/atomic"
	"time"

	"github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/encoding"
	"github.com/mesos/mesos-go/api/v1/lib/encoding/codecs"
	"github.com/mesos/mesos-go/api/v1/lib/extras/scheduler/callrules"
	"github.com/mesos/mesos-go/api/v1/lib/extras/scheduler/controller"
	"github.com/mesos/mesos-go/api/v1/lib/extras/scheduler/eventrules"
	"github.com/mesos/mesos-go/api/v1/lib/extras/store"
	"github.com/mesos/mesos-go/api/v1/lib/httpcli"
	"github.com/mesos/mesos-go/api/v1/lib/httpcli/httpsched"
	"github.com/mesos/mesos-go/api/v1/lib/resources"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler/calls"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler/events"
)

const (
	patience = time.Minute
	role     = "go"
)

// framework is a scheduler whose events are read one after the other, so that a scenario reads from top to bottom.
type framework struct {
	id     store.Singleton
	caller calls.Caller
	events chan scheduler.Event
	offers map[string]mesos.Offer
	// statuses that nobody has asked for yet
	statuses []mesos.TaskStatus
	stop     context.CancelFunc
	// leaving is set when the framework is torn down on purpose.
	leaving int32
	ended   chan struct{}
}

// newFramework subscribes, with an id if there is one already.
func newFramework(master, media, id string) *framework {
	codec := map[string]encoding.MediaType{"json": codecs.MediaTypeJSON, "protobuf": codecs.MediaTypeProtobuf}[media]
	client := httpcli.New(
		httpcli.Endpoint("http://"+master+"/api/v1/scheduler"),
		httpcli.Codec(codecs.ByMediaType[codec]),
		httpcli.Do(httpcli.With(httpcli.Timeout(10*time.Second))),
	)
	ctx, stop := context.WithCancel(context.Background())
	f := &framework{
		id:     store.NewInMemorySingleton(),
		events: make(chan scheduler.Event, 1024),
		offers: map[string]mesos.Offer{},
		stop:   stop,
		ended:  make(chan struct{}),
	}
	if id != "" {
		check(f.id.Set(id))
	}
	f.caller = callrules.New(callrules.WithFrameworkID(store.GetIgnoreErrors(f.id))).Caller(httpsched.NewCaller(client))
	pass := func(_ context.Context, event *scheduler.Event) error {
		f.events <- *event
		return nil
	}
	handler := eventrules.New(controller.LiftErrors()).Handle(events.Handlers{
		scheduler.Event_SUBSCRIBED: eventrules.New(controller.TrackSubscription(f.id, patience)).HandleF(pass),
		scheduler.Event_UPDATE:     controller.AckStatusUpdates(f.caller).HandleF(pass),
	}.Otherwise(pass))
	capabilities := []mesos.FrameworkInfo_Capability_Type{
		mesos.FrameworkInfo_Capability_MULTI_ROLE,
		mesos.FrameworkInfo_Capability_PARTITION_AWARE,
		mesos.FrameworkInfo_Capability_RESERVATION_REFINEMENT,
	}
	timeout := patience.Seconds()
	info := &mesos.FrameworkInfo{User: "root", Name: "mesos-go scenarios", Roles: []string{role}, FailoverTimeout: &timeout}
	for _, capability := range capabilities {
		info.Capabilities = append(info.Capabilities, mesos.FrameworkInfo_Capability{Type: capability})
	}
	if id != "" {
		info.ID = &mesos.FrameworkID{Value: id}
	}
	go func() {
		defer close(f.ended)
		_ = controller.Run(ctx, info, f.caller,
			controller.WithEventHandler(handler),
			controller.WithFrameworkID(store.GetIgnoreErrors(f.id)),
			controller.WithSubscriptionTerminated(func(err error) {
				if ctx.Err() == nil && err != nil && atomic.LoadInt32(&f.leaving) == 0 {
					fail("the subscription has ended: %v", err)
				}
			}),
		)
	}()
	f.next(scheduler.Event_SUBSCRIBED)
	return f
}

func check(err error) {
	if err != nil {
		fail("%v", err)
	}
}

func (f *framework) call(call *scheduler.Call) {
	check(calls.CallNoData(context.Background(), f.caller, call))
}

// teardown ends the framework for good. The master ends its subscription then, and that is no failure; to end it first would leave a
// framework that is not subscribed, of which no call is taken.
func (f *framework) teardown() {
	atomic.StoreInt32(&f.leaving, 1)
	f.call(&scheduler.Call{Type: scheduler.Call_TEARDOWN})
	f.stop()
}

func (f *framework) frameworkID() mesos.FrameworkID {
	id, err := f.id.Get()
	check(err)
	return mesos.FrameworkID{Value: id}
}

// pump takes in one event. Offers and statuses are kept until they are used.
func (f *framework) pump() scheduler.Event {
	select {
	case event := <-f.events:
		switch event.Type {
		case scheduler.Event_OFFERS:
			for _, offer := range event.Offers.Offers {
				f.offers[offer.ID.Value] = offer
			}
		case scheduler.Event_RESCIND:
			delete(f.offers, event.Rescind.OfferID.Value)
		case scheduler.Event_UPDATE:
			f.statuses = append(f.statuses, event.Update.Status)
		}
		return event
	case <-time.After(patience):
		fail("waited in vain; offers held: %v; statuses: %v", f.offers, f.statuses)
		return scheduler.Event{}
	}
}

// next is the next event of a type.
func (f *framework) next(kind scheduler.Event_Type) scheduler.Event {
	for {
		if event := f.pump(); event.Type == kind {
			return event
		}
	}
}

// resources are those of all offers held.
func (f *framework) resources() (all mesos.Resources) {
	for _, offer := range f.offers {
		all = append(all, offer.Resources...)
	}
	return
}

// untilOffered waits until the offers held have enough together, and tells whose they are.
func (f *framework) untilOffered(enough func(mesos.Resources) bool) mesos.AgentID {
	for !enough(f.resources()) {
		f.pump()
	}
	for _, offer := range f.offers {
		return offer.AgentID
	}
	fail("nothing is offered")
	return mesos.AgentID{}
}

// accept takes all offers held.
func (f *framework) accept(operations ...mesos.Offer_Operation) {
	var ids []mesos.OfferID
	for _, offer := range f.offers {
		ids = append(ids, offer.ID)
	}
	f.offers = map[string]mesos.Offer{}
	accept := calls.Accept(calls.OfferOperations(operations).WithOffers(ids...))
	f.call(accept.With(calls.RefuseSeconds(0)))
}

func live(state mesos.TaskState) bool {
	switch state {
	case mesos.TASK_STAGING, mesos.TASK_STARTING, mesos.TASK_RUNNING, mesos.TASK_KILLING:
		return true
	}
	return false
}

// untilStatus is the first status that is accepted, of those that came and are to come.
func (f *framework) untilStatus(accept func(mesos.TaskStatus) bool) mesos.TaskStatus {
	for {
		for at, status := range f.statuses {
			if accept(status) {
				f.statuses = append(f.statuses[:at:at], f.statuses[at+1:]...)
				return status
			}
		}
		f.pump()
	}
}

// ends waits until tasks have ended, each in its own way.
func (f *framework) ends(expected map[string]mesos.TaskState) {
	for task, state := range expected {
		status := f.untilStatus(func(status mesos.TaskStatus) bool {
			return status.TaskID.Value == task && !live(status.GetState())
		})
		if status.GetState() != state {
			fail("%s is %v instead of %v: %v", task, status.GetState(), state, status.GetMessage())
		}
	}
}

func (f *framework) finished(tasks ...string) {
	expected := map[string]mesos.TaskState{}
	for _, task := range tasks {
		expected[task] = mesos.TASK_FINISHED
	}
	f.ends(expected)
}

// amount sums what is reserved to the framework's role, or what is not reserved; volumes are left out.
func amount(from mesos.Resources, name resources.Name, reserved bool) (sum float64) {
	for i := range from {
		if from[i].Name == string(name) && (len(from[i].Reservations) > 0) == reserved && from[i].Disk == nil {
			sum += from[i].GetScalar().GetValue()
		}
	}
	return math.Round(sum*1000) / 1000
}

// roomy is enough for every scenario.
func roomy(from mesos.Resources) bool {
	return amount(from, resources.NameCPUs, false) >= 2 &&
		amount(from, resources.NameMem, false) >= 512 &&
		amount(from, resources.NameDisk, false) >= 64
}

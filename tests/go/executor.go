package main

import (
	"context"
	"errors"
	"io"
	"net/url"
	"time"

	"github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/encoding/codecs"
	"github.com/mesos/mesos-go/api/v1/lib/executor"
	"github.com/mesos/mesos-go/api/v1/lib/executor/calls"
	"github.com/mesos/mesos-go/api/v1/lib/executor/config"
	"github.com/mesos/mesos-go/api/v1/lib/executor/events"
	"github.com/mesos/mesos-go/api/v1/lib/httpcli"
	"github.com/mesos/mesos-go/api/v1/lib/httpcli/httpexec"
	"github.com/pborman/uuid"
)

var errShutdown = errors.New("told to shut down")

// execute runs every task it is given to its end at once, and sends every message back.
func execute() error {
	settings, err := config.FromEnv()
	if err != nil {
		return err
	}
	endpoint := url.URL{Scheme: "http", Host: settings.AgentEndpoint, Path: "/api/v1/executor"}
	client := httpcli.New(
		httpcli.Endpoint(endpoint.String()),
		httpcli.Codec(codecs.ByMediaType[codecs.MediaTypeProtobuf]),
		httpcli.Do(httpcli.With(httpcli.Timeout(10*time.Second))),
	)
	options := executor.CallOptions{calls.Framework(settings.FrameworkID), calls.Executor(settings.ExecutorID)}
	sender := calls.SenderWith(httpexec.NewSender(client.Send), options...)
	subscriber := calls.SenderWith(httpexec.NewSender(client.Send, httpcli.Close(true)), options...)
	send := func(call *executor.Call) error {
		response, err := sender.Send(context.TODO(), calls.NonStreaming(call))
		if response != nil {
			response.Close()
		}
		return err
	}
	run := func(tasks ...mesos.TaskInfo) error {
		for _, task := range tasks {
			for _, state := range []mesos.TaskState{mesos.TASK_RUNNING, mesos.TASK_FINISHED} {
				status := mesos.TaskStatus{
					TaskID:     task.TaskID,
					State:      state.Enum(),
					Source:     mesos.SOURCE_EXECUTOR.Enum(),
					ExecutorID: &mesos.ExecutorID{Value: settings.ExecutorID},
					UUID:       []byte(uuid.NewRandom()),
				}
				if err := send(calls.Update(status)); err != nil {
					return err
				}
			}
		}
		return nil
	}
	handler := events.HandlerFuncs{
		executor.Event_LAUNCH: func(_ context.Context, event *executor.Event) error {
			return run(event.Launch.Task)
		},
		executor.Event_LAUNCH_GROUP: func(_ context.Context, event *executor.Event) error {
			return run(event.LaunchGroup.TaskGroup.Tasks...)
		},
		executor.Event_MESSAGE: func(_ context.Context, event *executor.Event) error {
			return send(calls.Message(event.Message.Data))
		},
		executor.Event_SHUTDOWN: func(context.Context, *executor.Event) error { return errShutdown },
		executor.Event_ERROR: func(_ context.Context, event *executor.Event) error {
			return errors.New(event.Error.Message)
		},
	}.Otherwise(func(context.Context, *executor.Event) error { return nil })

	response, err := subscriber.Send(context.TODO(), calls.NonStreaming(calls.Subscribe(nil, nil)))
	if response != nil {
		defer response.Close()
	}
	for err == nil {
		var event executor.Event
		if err = response.Decode(&event); err == nil {
			err = handler.HandleEvent(context.TODO(), &event)
		}
	}
	if err == errShutdown || err == io.EOF {
		return nil
	}
	return err
}

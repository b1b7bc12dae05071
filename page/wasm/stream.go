//go:build js

package main

import (
	"io"
	"sync"
	"syscall/js"

	"wsproxy/page/sshclient"
)

// streamChunk is how much of a stream is read at once.
const streamChunk = 64 << 10

// bindStream makes a Duplex with closed of a stream. Each side is closed by itself.
func bindStream(stream *sshclient.Stream) js.Value {
	source, sink := newBinding(), newBinding()
	readDone := make(chan struct{})
	var endReading sync.Once
	finishReading := func() { endReading.Do(func() { close(readDone) }) }

	source.promises("pull", func(args []js.Value) (any, error) {
		buffer := make([]byte, streamChunk)
		n, err := stream.Read(buffer)
		if n > 0 {
			args[0].Call("enqueue", toJS(buffer[:n]))
			return nil, nil
		}
		finishReading()
		if err == io.EOF {
			args[0].Call("close")
			return nil, nil
		}
		return nil, err // which errors the stream
	})
	source.promises("cancel", func([]js.Value) (any, error) {
		finishReading()
		return nil, stream.Close()
	})

	var controller js.Value
	sink.does("start", func(args []js.Value) any {
		controller = args[0]
		return nil
	})
	sink.promises("write", func(args []js.Value) (any, error) {
		data, err := toGo(args[0])
		if err != nil {
			return nil, err
		}
		_, err = stream.Write(data)
		return nil, err
	})
	sink.promises("close", func([]js.Value) (any, error) { return nil, stream.CloseWrite() })
	sink.promises("abort", func([]js.Value) (any, error) { return nil, stream.Close() })

	readable := js.Global().Get("ReadableStream").New(source.Value, map[string]any{"highWaterMark": 1})
	writable := js.Global().Get("WritableStream").New(sink.Value, map[string]any{"highWaterMark": 1})
	closed := promise(func() (any, error) {
		<-stream.Closed()
		// A side that this end had not closed has been cut off. One that it had is not touched by it.
		controller.Call("error", jsError(errCutOff))
		go func() {
			<-readDone
			source.release()
			sink.release()
		}()
		return nil, nil
	})
	return object(map[string]any{"readable": readable, "writable": writable, "closed": closed})
}

var errCutOff = &sshclient.Error{Code: sshclient.CodeNetwork, Message: "The other side has ended the connection."}

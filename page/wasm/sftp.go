//go:build js

package main

import (
	"context"
	"errors"
	"syscall/js"

	"wsproxy/page/sftpclient"
	"wsproxy/page/sshclient"
)

// openSFTP is GoClient.openSFTP.
func openSFTP(client *sshclient.Client) (any, error) {
	stream, err := client.OpenSubsystem(context.Background(), "sftp")
	if err != nil {
		return nil, err
	}
	files, err := sftpclient.New(stream)
	if err != nil {
		return nil, err
	}
	b := newBinding()
	background := context.Background()
	b.promises("realPath", func(args []js.Value) (any, error) { return files.RealPath(background, args[0].String()) })
	b.promises("list", func(args []js.Value) (any, error) {
		entries, err := files.List(background, args[0].String())
		if err != nil {
			return nil, err
		}
		bound := make([]any, len(entries))
		for i, entry := range entries {
			bound[i] = bindEntry(entry)
		}
		return bound, nil
	})
	b.promises("stat", func(args []js.Value) (any, error) {
		entry, err := files.Stat(background, args[0].String())
		if err != nil {
			return nil, err
		}
		return bindEntry(entry), nil
	})
	b.promises("mkdir", func(args []js.Value) (any, error) { return nil, files.Mkdir(background, args[0].String()) })
	b.promises("rename", func(args []js.Value) (any, error) {
		return nil, files.Rename(background, args[0].String(), args[1].String())
	})
	b.promises("remove", func(args []js.Value) (any, error) {
		recursive := len(args) > 1 && args[1].Type() == js.TypeObject && flag(args[1], "recursive")
		return nil, files.Remove(background, args[0].String(), recursive)
	})
	b.promises("read", func(args []js.Value) (any, error) { return read(files, args) })
	b.promises("write", func(args []js.Value) (any, error) { return nil, write(files, args) })
	b.does("close", func([]js.Value) any {
		go files.Close()
		return nil
	})
	b.Set("closed", promise(func() (any, error) {
		<-files.Ended()
		b.release()
		return nil, nil
	}))
	return b.Value, nil
}

func bindEntry(e sftpclient.Entry) map[string]any {
	bound := map[string]any{
		"name": e.Name, "path": e.Path, "size": float64(e.Size), "modified": float64(e.Modified.UnixMilli()),
		"mode": e.Mode, "type": e.Type,
	}
	for name, value := range map[string]string{"target": e.Target, "owner": e.Owner, "group": e.Group} {
		if value != "" {
			bound[name] = value
		}
	}
	return bound
}

// read is GoSFTP.read.
func read(files *sftpclient.Client, args []js.Value) (any, error) {
	ctx, stop := untilAborted(args, 3)
	defer stop()
	from := float64(0)
	if value := args[1].Get("from"); value.Type() == js.TypeNumber {
		from = value.Float()
	}
	onChunk := args[2]
	result, err := files.Read(ctx, args[0].String(), int64(from), func(data []byte, position int64) error {
		_, err := guarded(func() (any, error) { return await(ctx, onChunk.Invoke(toJS(data), float64(position))) })
		return err
	})
	if err != nil {
		return nil, err
	}
	return map[string]any{"size": float64(result.Size), "modified": float64(result.Modified.UnixMilli())}, nil
}

// write is GoSFTP.write.
func write(files *sftpclient.Client, args []js.Value) error {
	ctx, stop := untilAborted(args, 3)
	defer stop()
	o := sftpclient.WriteOptions{Size: -1, Resume: flag(args[1], "resume")}
	if value := args[1].Get("size"); value.Type() == js.TypeNumber && value.Float() > 0 { // 0 for a stream of unknown length
		o.Size = int64(value.Float())
	}
	next := args[2]
	return files.Write(ctx, args[0].String(), o, func(position int64) ([]byte, error) {
		data, err := guarded(func() (any, error) {
			value, err := await(ctx, next.Invoke(float64(position)))
			if err != nil || value.IsNull() || value.IsUndefined() {
				return []byte(nil), err
			}
			return toGo(value)
		})
		if err != nil {
			return nil, err
		}
		return data.([]byte), nil
	})
}

// untilAborted returns a context that ends with the AbortSignal that may be among the arguments. stop must be
// called when it is done.
func untilAborted(args []js.Value, index int) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	if len(args) <= index || args[index].Type() != js.TypeObject {
		return ctx, cancel
	}
	signal := args[index]
	if signal.Get("aborted").Truthy() {
		cancel()
		return ctx, cancel
	}
	abort := js.FuncOf(func(js.Value, []js.Value) any {
		cancel()
		return nil
	})
	signal.Call("addEventListener", "abort", abort)
	return ctx, func() {
		signal.Call("removeEventListener", "abort", abort)
		abort.Release()
		cancel()
	}
}

var errNoBytes = errors.New("bytes must be a Uint8Array")

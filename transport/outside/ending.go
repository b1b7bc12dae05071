package outside

import "context"

type endingKey struct{}

// WithEnding is for [http.Server.BaseContext]: when ending ends, so does the
// discarding of what still comes of refused requests. The requests' own
// contexts live on, so that what was answered by then is passed on whole.
func WithEnding(ctx, ending context.Context) context.Context {
	return context.WithValue(ctx, endingKey{}, ending)
}

// endingOf returns what a request's context was given by WithEnding.
func endingOf(ctx context.Context) context.Context {
	if ending, ok := ctx.Value(endingKey{}).(context.Context); ok {
		return ending
	}
	return context.Background()
}

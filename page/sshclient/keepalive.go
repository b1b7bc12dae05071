package sshclient

import (
	"time"
)

const (
	// maxSilent is how many intervals a question may stay without an answer.
	maxSilent = 3
	// maxUntold is the silence that is borne as long as nobody calls SetAway. A relay may hold the connection
	// without a network meanwhile, by default for 15 minutes.
	maxUntold = 20 * time.Minute
)

// SetAway tells whether the connection is known to be without a network, where a relay that resumes
// holds it: silence means nothing then. Whoever knows should say so from the beginning, with false: the end of a
// server is noticed earlier by that. Without a keepalive it does nothing.
func (c *Client) SetAway(away bool) {
	if c.outer != nil {
		c.outer.SetAway(away)
	}
	if c.away == nil {
		return
	}
	select {
	case c.away <- away:
	case <-c.ended:
	}
}

// keepAlive asks the server after each silent interval whether it is there, and ends the connection when it
// isn't. It counts intervals, not time: a computer that was asleep has not been waiting.
func (c *Client) keepAlive(interval time.Duration) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	away, silent, asking := false, 0, false
	bearable := max(maxSilent, int(maxUntold/interval))
	answered := make(chan struct{}, 1)
	for {
		select {
		case <-c.ended:
			return
		case away = <-c.away:
			silent, bearable = 0, maxSilent
		case <-answered:
			asking, silent = false, 0
		case <-ticker.C:
			if c.conn.silence() < interval {
				silent = 0
				continue
			}
			if asking && !away {
				if silent++; silent >= bearable {
					c.closeFor(failure(CodeKeepAlive, nil, "%s has not answered for %v.", c.host, interval*time.Duration(bearable)))
					return
				}
			}
			if !asking {
				asking = true
				go func() {
					_, _, err := c.client.SendRequest("keepalive@openssh.com", true, nil)
					if err == nil {
						answered <- struct{}{}
					}
				}()
			}
		}
	}
}

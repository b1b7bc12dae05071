package sshclient

import (
	"time"
)

// maxSilent is how many questions in a row may stay without an answer.
const maxSilent = 3

// SetAway tells whether the connection is known to be without a network: a relay that resumes
// holds it meanwhile, and silence means nothing. Without a keepalive it does nothing.
func (c *Client) SetAway(away bool) {
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
	answered := make(chan struct{}, 1)
	for {
		select {
		case <-c.ended:
			return
		case away = <-c.away:
			silent = 0
		case <-answered:
			asking, silent = false, 0
		case <-ticker.C:
			if c.conn.silence() < interval {
				silent = 0
				continue
			}
			if asking && !away {
				if silent++; silent >= maxSilent {
					c.closeFor(failure(CodeKeepAlive, nil, "%s has not answered for %v.", c.host, interval*maxSilent))
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

package engine

import (
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/docker/docker/pkg/jsonmessage"
)

// Pulling is how far the pull of an image is. Total grows while the Engine
// learns of the layers.
type Pulling struct {
	Image       string
	Done, Total int64 // bytes of the layers that this Engine did not have
}

// pullInterval is the time between two reports of a pull.
const pullInterval = 100 * time.Millisecond

// follow reads the messages of a pull to their end, tells watch how far it is,
// and returns the error among the messages.
func follow(stream io.Reader, ref string, watch func(Pulling)) error {
	layers := map[string]jsonmessage.JSONProgress{}
	messages := json.NewDecoder(stream)
	var told time.Time
	for {
		var m jsonmessage.JSONMessage
		if err := messages.Decode(&m); errors.Is(err, io.EOF) {
			if len(layers) > 0 {
				watch(sum(ref, layers))
			}
			return nil
		} else if err != nil {
			return err
		}
		if m.Error != nil {
			return m.Error
		}
		if note(layers, m) && time.Since(told) >= pullInterval {
			told = time.Now()
			watch(sum(ref, layers))
		}
	}
}

// note takes what m says of a layer's download, and reports whether it does.
func note(layers map[string]jsonmessage.JSONProgress, m jsonmessage.JSONMessage) bool {
	known, seen := layers[m.ID]
	switch {
	case m.Status == "Downloading" && m.Progress != nil && m.Progress.Total > 0:
		layers[m.ID] = *m.Progress
	case seen && (m.Status == "Download complete" || m.Status == "Pull complete"):
		known.Current = known.Total
		layers[m.ID] = known
	default:
		return false
	}
	return true
}

func sum(ref string, layers map[string]jsonmessage.JSONProgress) Pulling {
	p := Pulling{Image: ref}
	for _, l := range layers {
		p.Done, p.Total = p.Done+l.Current, p.Total+l.Total
	}
	return p
}

package registrator

import "sync"

// looker knows which containers are being looked at, some of them for longer than
// the pass that asked for it, and keeps what came of that for the next pass.
type looker struct {
	slots   chan struct{}
	running sync.WaitGroup

	mu   sync.Mutex
	busy map[string]*watched // by container id
	late map[string]looked   // by container id
}

// watched is a container that is being looked at.
type watched struct {
	print string // of the list that the look began with
	again bool   // something happened since: what is seen may be from before
}

func newLooker() *looker {
	return &looker{slots: make(chan struct{}, looks), busy: map[string]*watched{}, late: map[string]looked{}}
}

// begin reports whether the container may be looked at: not when somebody still does.
// What a hint asked for, or another state in the list, then is looked at afterwards.
func (k *looker) begin(l listed, hinted bool) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if w := k.busy[l.id]; w != nil {
		w.again = w.again || hinted || w.print != l.print
		return false
	}
	k.busy[l.id] = &watched{print: l.print}
	return true
}

// end notes that a look is over, and its outcome when its pass did not wait for it. It
// reports whether something happened to the container since the look began.
func (k *looker) end(l looked, late bool) (again bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	again = k.busy[l.id].again
	delete(k.busy, l.id)
	if late {
		k.late[l.id] = l
	}
	return again
}

// takeLate returns the outcomes since the last pass, and forgets them.
func (k *looker) takeLate() map[string]looked {
	k.mu.Lock()
	defer k.mu.Unlock()
	late := k.late
	k.late = map[string]looked{}
	return late
}

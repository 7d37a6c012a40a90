;; A scheduler that expects one event more than there are.
;; kind: scheduler
;; wit: /// A timer is due, by the name under which it was set. => paused,
;; expect: refused expected variant of 4 cases, found 5 cases

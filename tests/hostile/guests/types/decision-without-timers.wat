;; A scheduler whose decisions lack their last list.
;; kind: scheduler
;; wit: clear-timers: list<string>, => 
;; expect: refused `scheduler.handle` has another signature

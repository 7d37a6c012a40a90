;; Calls the host where it is told that its answer was read, when nothing of it may reach the world any more.
;; kind: reporter
;; expect: ends cannot leave component instance
(func (export "cabi_post_reporter#deliver") (param i32)
  (drop (call $append (text "reports/late") (text "late"))))

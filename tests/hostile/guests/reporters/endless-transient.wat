;; Says of each attempt that it may work later: the master's pauses grow, and it is not asked faster for it.
;; kind: reporter
;; expect: ends not now
(func (export "reporter#deliver") (param i32 i32 i32) (result i32)
  (call $error (i32.const 1) (text "not now")))

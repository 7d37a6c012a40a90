;; Loops for ever where the host asks for memory for what it answers, in the middle of a host call.
;; kind: reporter
;; expect: ends it ran for more than 300 ms
(global $asked (mut i32) (i32.const 0))
(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
  (global.set $asked (i32.add (global.get $asked) (i32.const 1)))
  (if (i32.gt_u (global.get $asked) (i32.const 1)) (then (loop $again (br $again))))
  (call $alloc (local.get 3)))
(func (export "reporter#deliver") (param i32 i32 i32) (result i32)
  (call $report.to-json (local.get 2) (i32.const 256))
  (call $done))

;; Translates by calling itself without end.
;; kind: change-source
;; call: migrate
;; expect: ends its stack overflowed
(func $down (param i64) (result i64) (i64.add (local.get 0) (call $down (i64.add (local.get 0) (i64.const 1)))))
(func (export "migration#migrate") (param i32 i32 i32 i32 i32 i32) (result i32)
  (drop (call $down (i64.const 0))) (i32.const 128))

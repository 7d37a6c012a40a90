;; Says in fifteen megabytes why it cannot: they may cross the border, but are not to be kept and shown whole.
;; kind: scheduler
;; call: migrate
;; expect: ends …
(func (export "migration#migrate") (param i32 i32 i32 i32 i32 i32) (result i32)
  (drop (memory.grow (i32.const 900)))
  (call $fail (i32.const 131072) (i32.const 15000000)))

;; Every import of a scheduler, and answers. `$done` is an empty decision, `$fail` is `permanent` with a text.

(import "capstan:plugin/log@wit" "write" (func $log.write (param i32 i32 i32)))

;; Answers lie at 128 (an empty decision) and 16 (an error).
(func $done (result i32) (i32.const 128))
(func $fail (param $text i32) (param $length i32) (result i32)
  (i32.store8 (i32.const 16) (i32.const 1))
  (i32.store8 (i32.const 20) (i32.const 2))
  (i32.store (i32.const 24) (local.get $text))
  (i32.store (i32.const 28) (local.get $length))
  (i32.const 16))

;; A decision of four lists, each an address and a length: the state, what to submit, timers to set, timers to clear.
(func $decide (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
  (i32.store (i32.const 132) (local.get 0)) (i32.store (i32.const 136) (local.get 1))
  (i32.store (i32.const 140) (local.get 2)) (i32.store (i32.const 144) (local.get 3))
  (i32.store (i32.const 148) (local.get 4)) (i32.store (i32.const 152) (local.get 5))
  (i32.store (i32.const 156) (local.get 6)) (i32.store (i32.const 160) (local.get 7))
  (i32.const 128))

(func (export "scheduler#check") (param i32 i32) (result i32) (call $done))
(func (export "scheduler#handle") (param i32) (result i32) (call $done))

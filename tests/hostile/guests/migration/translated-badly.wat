;; Translates into a state that it then cannot read: nothing of it is to be kept.
;; kind: scheduler
;; call: migrate
;; expect: answers
(func (export "migration#migrate") (param i32 i32 i32 i32 i32 i32) (result i32)
  (i32.store (i32.const 132) (i32.const 144)) (i32.store (i32.const 136) (i32.const 3))
  (i32.const 128))
(func (export "scheduler#handle") (param i32) (result i32) (call $fail (text "I cannot read this")))

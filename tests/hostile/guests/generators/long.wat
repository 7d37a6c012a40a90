;; Answers more than a configuration takes.
;; kind: generator
;; expect: ends the generated text
(func (export "generator#generate") (param i32 i32) (result i32)
  (local $text i32)
  (local.set $text (call $alloc (i32.const 9000000)))
  (memory.fill (local.get $text) (i32.const 0x20) (i32.const 9000000))
  (call $answer (local.get $text) (i32.const 9000000)))

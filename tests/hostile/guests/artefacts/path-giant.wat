;; Names a file with a megabyte.
;; grants: artefacts = ["*"]
;; expect: ends a file inside the builder
(func (export "step#run") (param i32 i32) (result i32)
  (drop (memory.grow (i32.const 20)))
  (memory.fill (i32.const 131072) (i32.const 97) (i32.const 1000000))
  (call $artefacts.publish (i32.const 131072) (i32.const 1000000) (text "key") (i32.const 256))
  (call $stored))

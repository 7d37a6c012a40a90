;; Writes more than fits at once.
;; grants: artefacts = ["*"]
;; expect: ends at most 1048576 bytes
(func (export "step#run") (param i32 i32) (result i32)
  (drop (memory.grow (i32.const 20)))
  (call $artefacts.write (text "app") (i32.const 131072) (i32.const 1048577) (i32.const 256))
  (call $stored))

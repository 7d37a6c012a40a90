;; Stores under a name that leads out of the store.
;; grants: artefacts = ["*"]
;; expect: ends are no words
(func (export "step#run") (param i32 i32) (result i32)
  (call $artefacts.publish (text "build/app") (text "dist/../../../capstan.toml") (i32.const 256))
  (call $stored))

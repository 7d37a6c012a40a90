;; Imports sockets, with the stand-ins that reach nothing, under a type that they do not have.
;; manifest: plugin.wasi = "stub"
;; expect: refused
(component
  (import "wasi:sockets/instance-network@0.2.0" (instance (export "instance-network" (func (result u32)))))
  (instance $none) (export "capstan:plugin/step@wit" (instance $none)))

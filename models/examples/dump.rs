use models::{checkpoint, onnx::Precision, segformer3d::*};
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let c = checkpoint::read(a[1].as_ref()).unwrap();
    println!("{:?}", c.notes);
    let mut config = Config::infer(&c).unwrap();
    if config.embed_dims[0] == 8 {
        config.num_heads = [1, 2, 3, 4];
    }
    if a[3].contains("head_dim") {
        config.attention_scale = AttentionScale::HeadDim;
    }
    if a[3].contains("coarse") {
        config.output_size = OutputSize::Coarse;
    }
    let p = if a[3].contains("f16") { Precision::F16 } else { Precision::F32 };
    std::fs::write(&a[2], build_onnx(&config, &c, p, &[("id".into(), "x".into())]).unwrap()).unwrap();
}

"""EncGAN3, LEncGAN, R2, AR2 and R3: clips from a VAE-GAN, stitched into long videos by recalling what came before."""

"""The waiter that the proxy runs before a container's own program, compiled from `waiter.c`: 2 KB for each
architecture.

Owns its bytes and its path in a container. `make waiter` updates this file (it needs gcc and gcc-aarch64-linux-gnu);
nobody else needs a compiler.
"""

import zlib
from base64 import b85decode

__all__ = ["DIRECTORY", "WAITER", "program"]

DIRECTORY = "/w"
"""Where the waiter's directory is mounted in a container, read-only."""
WAITER = "/w/w"

_PROGRAMS = {
    "x86_64": (
        b"c-o~^-*4Mg6uxfbu4|_z6KowC8s21SnO5Su@X%!`#9hj+hbwJb3zI-%PU6y_#2)rFP0_R(rA2iszahi}e*pXkWn+swSff7huu35D#sjF"
        b"?ylUmg&={lPUdJhEsQ`&9#mDEI@0{<uKYTMaB)!x^QJ^tezzcwQRgm=kWDx&^-h|*-KWN3zHbDE>rc_f!-ChWi4GSW5L+aY_?_v<YxG%"
        b"ZIZVqN^-MJr7whjFE5tIRb4ce=)^!<93G=%mBzhWi!14P5xP4B@Fzp_9Sm0R#5On)J~D!d|$3L~TEVd-8!oPP$Eey66`a+pp6VPTc5&u"
        b"6t-tvp3Kui$FQcA@=EnD%~@oXadD+P^^uu?P4XT-fy%02>%ATy4i_$$kXw6wbKBFbiEiA*Q#c4}t4MgYbE)uW*EoN=}}Q3O6j@PqDpAD"
        b"YhH<S}_n-Dj(yvH+rz9s{pj)HqfrX8F%tbor?ceveza1F2srs;N*;Z<zT65)%C;7!)?OhJZ69cwH}_D`Vi8|!7%XbA>PFxGM8>>-^E};"
        b"5@IELNwU9_?3>svC0NRItjlaSZ@yn=_Gjg<rDSh}>EU@Hf=lNj(<`XMdc>jKu;zN}yz9~as*BFZw-M2KJ2K;<ePntk{mM$17VXNNCon{"
        b"?`ayX5fxiy7uMLEf0M1i*Lg=W~f7X23DpG>E-zv6@m=UYk3e66y7#c7`(7Ay1Ew+2N`8B~xME&i)<^3X7z9c&$Ic7_l95~@RVI1O@2j@"
        b"ba(=OVbh$C98EqeD~c0yfnfE>b!*LYVvv530n_OxR8v$JpDLT`;<9-di7dxWL;NFz>kL<%q2+>;<R`vFBl7z<C_GVb|nUG=8~og@oCy^"
        b"j^3HnCLOFzI1?)g!Mzo6$il(FxGuGtTRs)Uf^d&KNmoBHrWb=|8Y!yHb4-Tkmi^_FND<j;-J7q_-=<p}k_w73RRSYyMRJ2(Ok$m*2&v8"
        b"p5#p{_k{jiGYPN#+APgHO@H<ryf?ndW<z(`FjCp8akKPGIE|X(m6HW<ZrrvCH$AViyz=foKZE#Ff-%KST3(Hn$Bc%x{^VfKG{LCN>Ry}"
        b"NKWIN4^TD4jA^EtWpXORo)t!*54)u3g`8pJG?mFJYEH@e(TuDTd|C<GC|M>tp=;`!xP@MjQ4irmn#L4}fPzxMtj9XQgd)GA_`)(;p&(-"
        b"}<C2oejrnakW76O<dD$>HRY9DB#wQdmBkOuj(HoV7EzTSPr%#=VGtrci&dDmn_r>~Rz0dN`AI~ajzR%>31t9=p#<+oWJWCKmN)dsWu4Q"
        b"E;gIL-yK#Yh`R0RJ2=xn-kLDT(S4gAs8t$1o%{oWwf7x?5GtlPSOklMMvVV?rziUOcPvw7ds+wS?DU2rJq)w?a;_+L2+{+XX@;%**O|5"
        b"D!=e*)N<-7x"
    ),
    "aarch64": (
        b"c-pO1UuauZ82|2{v}qf()wouQ=Bz6t)h=mEi)j&dYyF2P%#!!^Cb>0{=4QF~)^?kc%&9o4(9;QupzE9uHgA)uFM~!mL}5q?BEFf3U8@s"
        b"EiVv$=uHU&iX_Gt*A3Tuz{r`U7pObqtPdxjiC<stJB76Z%+5*Lq6|P@s+H*l&2qb(qLzCm{g4(0h(Ow?cyB9C)J)7$6<8`!pWKtjZ{Du"
        b"{4g8zQnIeh@Kg`x!13-C@!f}DsliAO?tfDyMlTToDz@P{bh=cTD19+QFIw(U;&W#wE^l5^j*F<Z7E*7*H}_T5ugR(CP43zVHT8OqlI!U"
        b"(qnT?gn5+kUrrcXskHfcF=~Y*T<1PfdNg)sD3&Z*P~*0R8zQP)R^JBd!9^3rkCdX3X*1`PU1ZZylg{X=VGN!z<f%H|!LBuv3znbMEGBV"
        b"cL^j7KIh39y<f0EcOQC5b^fsMV9+2P=80IZid0^K7ex4sZs3smeuD|c6`u!b9UDb!}<gTXrY_fS1AK@3o&|lO@8Em#oU53$0lcfOn=k`"
        b"<qQAV;bKM^^<9JXIP$DNHqR38jrqOdR(4pN0Lo}dgc0m@@*_9US3Tk)kzn|f?n>U0)RwExcLVX9Swbg0$7)48MY`sOOVc8R*M{Me>f!V"
        b"L(MuyZ=c893J<a;V{cT_$1aWW=oq5Eab}`&az6{Uz3Q}gvdbsUTFI`4|yx*f4MM!@sKv<HImxZ*-csKILgtWkT5AsAvUqC#m9r-`8f8?"
        b"9JKo1h21n)$C*Z!;(`^m>&3>5_!2|#xFEaH4;uWdiq0<@2I(SFqF_D|clT-iw(ecjjx+kZ(CbDQh;&_A%AXIwyUA$<+|D#l|W-xj3hF6"
        b"HED+YYY?@}keJl>II?i)=y0_)>g2bTC0eY!2rEZZf}*CAfSV<zS*WbWji$neSEfI~1?@v3qb9{fbhHvj?`5x?L=x&zn$Q75L0?jz{<$A"
        b"4clv2JWMNHdDO!ajci!7q*9dU;cgk3qP_Ud2+0NrECwgUVfKcxlNE4zd|3jPlEVokoWODevLlwq3q<ob}vPo&fuJB1ZPuGbv9^568cz;"
        b"yeIA(9Ht`T1A4}Yo+9R4G)`s`vl>YmB$hC=sFgBKv@)x<phf2_HG($BK~Gs^CN-zWNJ1yQ$Hv1?J8s7{BbhMGL`o+yO;2bsM;ldj<{!~"
        b"`8ZAcr^F~U40aF-B)#_(>Rw_l3tbnAJMAW`knAg;oG^em=Dw$Lf%RH_{6EjZQpn1X!MrT#i4C<N{)U5ct7L2Nfk<g54Btsh`J^SxF;p8"
        b"O93l9q29-pJ@!k_zZ+wQM<FEXB>uKJ4g^0#(B>MRMF@w=1{+#fbSH8C+p{EusqgsPLlp}<gJ;K<-`A7=pqX56$492o>GZNY+ok&3C73I"
        b"Q!XHDjnr4FVC<gaGSJ(=GTvPFu}41ZuulTU@>_)%(j0@f|#Vh|8B{h0}`ME!6u94fKA_i(FoJDV$d1a08yZK|aKF)iU?Le~sV0dfe*qb"
        b"KO9Lz8dd?JJ&DNVAq}r9zO_o#{U;k4Fj?"
    ),
}


def program(machine: str) -> bytes:
    """The program for an architecture as `uname -m` names it; empty if there is none."""
    text = _PROGRAMS.get(machine)
    return zlib.decompress(b85decode(text)) if text else b""
